"""`.npy` files, mapped rather than read, and known again when they are mapped anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from digitsum.errors import DataError
from digitsum.file_kinds import NPY, obstacle, recognized


@dataclass(frozen=True)
class Stamp:
    """What tells that a file is the one that it was.

    Attributes:
        path: As it was given, for messages.
        file: The same from the root: the current folder may change.
        seen: Number, size in bytes and time of the last change; None if there was no such file.
    """

    path: Path
    file: Path
    seen: tuple[int, int, int] | None

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file as it is now."""
        return cls(path, path.absolute(), _seen(path))

    def check(self) -> None:
        """Refuses a file that was replaced, written to or removed.

        Raises:
            DataError: It was.
        """
        if _seen(self.file) != self.seen:
            raise DataError(f"{self.path} changed while it was being read: start again")


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def map_array(path: Path) -> NDArray[np.generic]:
    """A `.npy` file mapped read-only; its header is checked against its size before use.

    Raises:
        DataError: There is no such file, or it is no array of plain values.
    """
    if reason := obstacle(path):
        raise DataError(f"{path} {reason}: expected a .npy file")
    try:
        with open(path, "rb") as stream:
            return _mapped(stream)
    except Exception as error:  # numpy parses headers with Python's own parser: all may come out
        if kind := recognized(path, NPY):
            raise DataError(f"{path} is {kind}") from error
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} is not a readable .npy array ({detail}): save it again with numpy.save"
        ) from error


def _mapped(stream: BinaryIO) -> NDArray[Any]:
    """The array in a file.

    The bytes that a header claims are counted in whole numbers of Python's. NumPy's overflow with
    no more than a warning, and what warnings do is up to the caller, for all threads alike.
    """
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields alone
        raise ValueError(f"it is of version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    start, claimed = stream.tell(), math.prod(shape) * dtype.itemsize
    held = stream.seek(0, 2) - start
    if claimed > held:
        raise ValueError(f"its header claims {claimed:,} bytes, of which it holds {held:,}")
    order: Any = "F" if by_columns else "C"
    if claimed == 0:
        return np.empty(shape, dtype, order)
    return np.memmap(stream, dtype, "r", start, shape, order)
