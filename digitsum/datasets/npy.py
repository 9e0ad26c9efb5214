"""Arrays in `.npy` files: counted before they are read, and read a few rows at a time.

Rows are read, not mapped. A mapped file that is cut short meanwhile ends the process (SIGBUS);
one that is read gives fewer bytes, and that is an error.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from digitsum.errors import DataError
from digitsum.file_kinds import NPY, UnreadableFileError, open_regular, recognized

MAX_HEADER = 10_000  # characters, as NumPy has it: it parses them with Python's own parser
PIECE = 1 << 17  # bytes that are read at a time
AHEAD = 8  # times as many rows are read at a time from a file by columns
SPARSE = 8  # rows in a file by columns for each one asked for, below which all are read through


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
        try:
            return cls(path, path.absolute(), _seen(path.stat()))
        except OSError:
            return cls(path, path.absolute(), None)

    @classmethod
    def of_opened(cls, path: Path, stream: IO[bytes]) -> Stamp:
        """The stamp of a file that was opened by this path."""
        return cls(path, path.absolute(), _seen(os.fstat(stream.fileno())))

    def check(self) -> None:
        """Refuses a file that was replaced, written to or removed.

        Raises:
            DataError: It was.
        """
        if Stamp.of(self.file).seen != self.seen:
            raise self._changed()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The same file, opened again.

        Raises:
            DataError: It was replaced, written to or removed, be it while it was open.
        """
        try:
            with open_regular(self.file) as stream:
                self._check_same(stream)
                yield stream
                self._check_same(stream)
        except (UnreadableFileError, EOFError) as error:
            raise self._changed() from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror})") from error

    def _check_same(self, stream: BinaryIO) -> None:
        if _seen(os.fstat(stream.fileno())) != self.seen:
            raise self._changed()

    def _changed(self) -> DataError:
        return DataError(f"{self.path} changed while it was being read: start again")


def _seen(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class Header:
    """What a `.npy` says of its array.

    Attributes:
        shape: Of the array.
        dtype: Of its numbers; never of objects.
        by_columns: Whether its first axis is the one that runs fastest (Fortran's order).
        start: Number of the byte at which the array begins.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    start: int

    @classmethod
    def read(cls, stream: IO[bytes], size: int) -> Header:
        """Reads a header, and compares what it claims with the bytes that there are.

        The bytes that it claims are counted in whole numbers of Python's. NumPy's overflow with
        no more than a warning, and what warnings do is up to the caller, for all threads alike.

        Args:
            stream: At its first byte.
            size: How many bytes it holds.

        Raises:
            ValueError: It is none, or claims more than there is. NumPy parses headers with
                Python's own parser: other kinds of exceptions may come out too.
        """
        head = io.BytesIO(stream.read(MAX_HEADER + 12))
        version = npy.read_magic(head)
        if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields alone
            raise ValueError(f"it is of version {version}")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read_header(head, MAX_HEADER)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0:
            raise ValueError(f"its shape is {shape}")
        header = cls(shape, dtype, by_columns, head.tell())
        held = size - header.start
        if header.nbytes > held:
            raise ValueError(f"its header claims {header.nbytes:,} bytes, of which it has {held:,}")
        if not header.nbytes:
            np.empty(shape, dtype)  # NumPy refuses sizes that it cannot count
        return header

    @property
    def nbytes(self) -> int:
        """How many bytes the array takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read_all(self, stream: IO[bytes]) -> NDArray[Any]:
        """The whole array.

        Raises:
            EOFError: The file ends before it does.
        """
        array: NDArray[Any] = np.empty(self.shape, self.dtype, "F" if self.by_columns else "C")
        stream.seek(self.start)
        _fill(array.T if self.by_columns else array, stream)
        return array

    def read_rows(self, stream: IO[bytes], start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop` of an array that has rows; see `read_all`."""
        count, *rest = self.shape
        rows = replace(self, shape=(stop - start, *rest))
        if self.by_columns and 0 < rows.nbytes < self.nbytes:
            columns = self._read_columns(stream, start, stop)
            return columns.T.reshape(rows.shape, order="F")
        skipped = start * (self.nbytes // max(count, 1))
        return replace(rows, start=self.start + skipped).read_all(stream)

    def _read_columns(self, stream: IO[bytes], start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop` of each column of a file by columns, (columns, rows)."""
        count, columns = self.shape[0], math.prod(self.shape[1:])
        found: NDArray[Any] = np.empty((columns, stop - start), self.dtype)
        column = count * self.dtype.itemsize
        if count > SPARSE * (stop - start):
            for number, part in enumerate(found):
                stream.seek(self.start + number * column + start * self.dtype.itemsize)
                _fill(part, stream)
            return found
        stream.seek(self.start)
        at_once = max(1, PIECE // column)
        for first in range(0, columns, at_once):
            whole = np.empty((min(at_once, columns - first), count), self.dtype)
            _fill(whole, stream)
            found[first : first + at_once] = whole[:, start:stop]
        return found


@dataclass
class NpyFile:
    """A `.npy` file whose header was checked; a slice reads its rows, from the file as it was.

    Rows of a file by columns are many short pieces: more of them are read than are asked for, and
    kept for the next slice.
    """

    stamp: Stamp
    header: Header
    _kept: tuple[int, int, NDArray[Any]] | None = field(default=None, init=False, repr=False)

    @classmethod
    def open(cls, path: Path) -> NpyFile:
        """Opens a file and reads its header.

        Raises:
            DataError: There is no such file, or it is no array of plain values.
        """
        try:
            with open_regular(path) as stream:
                stamp = Stamp.of_opened(path, stream)
                return cls(stamp, Header.read(stream, os.fstat(stream.fileno()).st_size))
        except UnreadableFileError as error:
            raise DataError(f"{path} {error.reason}: expected a .npy file") from error
        except Exception as error:  # NumPy's parser of headers lets all kinds out
            if kind := recognized(path, NPY):
                raise DataError(f"{path} is {kind}") from error
            detail = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path} is not a readable .npy array ({detail}): save it again with numpy.save"
            ) from error

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its numbers."""
        return self.header.dtype

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """A new array of these consecutive rows.

        Raises:
            DataError: The file is not the one that was opened.
        """
        start, stop, _ = rows.indices(self.shape[0])
        stop = max(start, stop)
        with self.stamp.opened() as stream:
            if self.header.by_columns:
                return self._from_kept(stream, start, stop)
            return self.header.read_rows(stream, start, stop)

    def _from_kept(self, stream: IO[bytes], start: int, stop: int) -> NDArray[Any]:
        if self._kept is None or not self._kept[0] <= start <= stop <= self._kept[1]:
            self._kept = None  # before others take its place in memory
            end = min(start + AHEAD * (stop - start), self.shape[0])
            self._kept = start, end, self.header.read_rows(stream, start, end)
        first, _, rows = self._kept
        return rows[start - first : stop - first].copy(order="K")


def _fill(array: NDArray[Any], stream: IO[bytes]) -> None:
    """Reads bytes into an array in C's order."""
    if not array.nbytes:
        return
    left = array.reshape(-1).view(np.uint8)
    while len(left):
        data = stream.read(min(PIECE, len(left)))
        if not data:
            raise EOFError("it ends before its array does")
        left[: len(data)] = np.frombuffer(data, np.uint8)
        left = left[len(data) :]
