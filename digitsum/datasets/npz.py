"""Arrays in `.npz` files: each is counted before it is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

from numpy.typing import NDArray

from digitsum.datasets.npy import Header

DIRECTORY = 1 << 20  # bytes of the list of entries, at most
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy writes no other; they unpack in pieces


class NpzFile:
    """The arrays in an open `.npz`.

    Args:
        stream: The file, which stays open.

    Attributes:
        names: Of the arrays, in their order.

    Raises:
        ValueError, zipfile.BadZipFile: It is none. `zipfile` lets other kinds of exceptions out
            too.
    """

    def __init__(self, stream: BinaryIO) -> None:
        limited = _Limited(stream)
        self._archive = zipfile.ZipFile(cast("IO[bytes]", limited))
        limited.most = None
        self._entries = {
            entry.filename.removesuffix(".npy"): entry for entry in self._archive.infolist()
        }
        self.names = list(self._entries)

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._archive.close()

    def read(self, name: str, check: Callable[[Header], None]) -> NDArray[Any]:
        """The array of that name.

        Args:
            name: One of `names`.
            check: Is given what its header says, before it is unpacked, and raises what it likes.

        Raises:
            KeyError, ValueError: There is none, or it is damaged; or see `NpzFile`.
        """
        entry = self._entries[name]
        if entry.compress_type not in METHODS:
            raise ValueError(f"{name} is compressed in a way that NumPy does not use")
        with self._archive.open(entry) as stream:
            header = Header.read(stream, entry.file_size)
            check(header)
            return header.read_all(stream)


class _Limited:
    """A file that gives `most` bytes at a time, until that is None.

    `zipfile` reads a directory at once, however large it is, and makes objects of its entries that
    are larger still.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self._read = stream.read
        self.most: int | None = DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if self.most is None:
            return self._read(size)
        data = self._read(self.most + 1 if size < 0 else min(size, self.most + 1))
        if len(data) > self.most:
            raise ValueError("it has too many entries")
        return data
