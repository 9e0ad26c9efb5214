"""Strips from files that hold no sums: `.npy`, `.npz`, and pictures of any size.

A drawing of digits side by side becomes one strip, see `drawings`; a photograph of paper, with its
shadows and ruled lines, becomes a strip for each line of digits on it, see `photographs`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ImageFile, as_strips, strip_shape
from digitsum.datasets.drawings import check_width, is_even, is_photograph, strip_of, within_frame
from digitsum.datasets.fitting import FittedFile, fit_strips, needs_fit, open_strips, stored_shape
from digitsum.datasets.folders import (
    arrays_in,
    by_number,
    entries,
    is_hidden,
    is_pattern,
    left_out,
    matching,
    named,
)
from digitsum.datasets.npy import Header
from digitsum.datasets.npz import NpzFile
from digitsum.datasets.photographs import Box, WrittenLine, written_lines
from digitsum.datasets.pictures import MAX_PIXELS, NAMES, SUFFIXES, grey_pages, is_picture
from digitsum.datasets.strips import FLAT_WIDTH, ROWS
from digitsum.errors import DataError, InstallationError
from digitsum.file_kinds import (
    NPY,
    NPZ,
    PICTURE,
    UnreadableFileError,
    first_bytes,
    obstacle,
    open_regular,
    own_kind,
    recognized,
)

UNPACKED = 100_000_000  # bytes of strips in a .npz, at most, besides twice what the file has
MAX_UNPACKED = 1 << 30  # bytes of them in a file of any size


@dataclass(frozen=True)
class InMemoryStrips:
    """Strips in memory that came from a file."""

    path: Path
    strips: NDArray[np.uint8]  # (N, 40, W)
    first: int = 0  # number of the first of them in the file; of a picture, of its page
    line: int | None = None  # of a page with several, from 1 at the top
    box: Box | None = None  # where a line stands on a photograph, in pixels
    places: NDArray[np.float32] | None = None  # (W, 2): x and y on it of each column
    is_picture: bool = False  # whether light and dark were told apart when it was opened
    is_unread_photograph: bool = False  # whether it needs what is not installed
    unread: tuple[Box, ...] = ()  # where something in the line of a photograph was not read

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 40, W)."""
        return self.strips.shape

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        return self.strips[rows]


OpenedFile = ImageFile | FittedFile | InMemoryStrips


def open_images(paths: Sequence[Path], fit: bool = False) -> list[OpenedFile]:
    """Strips of `.npy` and `.npz` files, of pictures, and of folders of pictures, in order.

    Raises:
        DataError: A file is missing or broken, or a folder holds no picture.
    """
    files = [file for path in paths for file in files_of(path)[0]]
    return [opened for file in files for opened in open_image(file, fit)]


def unread_places(file: OpenedFile) -> list[str]:
    """Where on a photograph something was not read that may be a digit, in words."""
    if not isinstance(file, InMemoryStrips):
        return []
    return [
        f"{file.path} at {(left + right) // 2}, {(top + bottom) // 2}"
        for left, top, right, bottom in file.unread
    ]


def unread_notes(places: Sequence[str]) -> list[str]:
    """A line about such places, if there are any."""
    if not places:
        return []
    return [
        "not read, though perhaps a digit: something fainter or smaller than the digits beside it, "
        f"in {named(places)} (pixels from left and top)"
    ]


def files_of(path: Path, taken: Sequence[Path] = ()) -> tuple[list[Path], list[str]]:
    """The pictures of a folder, or its `.npy` files if it has none, and a line about the rest.

    The files that a pattern such as `scans/*.png` names, if nothing has that very name. Of
    anything else, itself.

    Args:
        path: A file, a folder or a pattern.
        taken: What else of the folder is read.

    Raises:
        DataError: The folder holds neither, or no name matches the pattern.
    """
    try:
        if not path.is_dir():
            return (matching(path) if is_pattern(path) else [path]), []
    except OSError as error:  # a name of thousands of letters, say
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    found = [
        file
        for file in entries(path)
        if file.suffix.lower() in SUFFIXES and not is_hidden(file) and not file.is_dir()
    ]
    if not found and (arrays := arrays_in(path)):
        return arrays, left_out(path, arrays, "the .npy files of strips")
    if not found:
        raise DataError(
            f"{path} is a folder without pictures ({NAMES}) and without .npy files of strips"
        )
    wanted = f"pictures ({NAMES})"
    return sorted(found, key=by_number), left_out(path, [*found, *taken], wanted)


def open_image(path: Path, fit: bool = False) -> list[OpenedFile]:
    """The strips of one file, whose content says what it is; of a picture, one for each page.

    Args:
        path: The file.
        fit: Whether strips of other heights in a `.npy` or `.npz` are scaled; see `fitting`.

    Raises:
        DataError: It is missing or broken, or none that is read.
    """
    if reason := obstacle(path):
        raise DataError(f"{path} {reason}")
    suffix, kind = path.suffix.lower(), own_kind(first_bytes(path))
    if kind == NPY:
        return [open_strips(path, fit)]
    if kind == NPZ or suffix == ".npz":
        return [InMemoryStrips(path, _unpacked(path, fit))]
    if suffix in SUFFIXES or is_picture(path):
        return _pages(path)
    if suffix == ".npy":
        return [open_strips(path, fit)]
    if other := recognized(path, PICTURE):
        raise DataError(f"{path} is {other}")
    raise DataError(f"{path} is no file of strips: give a .npy, a .npz, or a picture ({NAMES})")


def _pages(path: Path) -> list[OpenedFile]:
    """A strip for each page of a picture, or for each line of a photograph."""
    strips: list[OpenedFile] = []
    held = 0
    for page, grey in enumerate(grey_pages(path)):
        for found in _lines(grey, path, page):
            strips.append(found)
            held += math.prod(found.shape)
        if held > MAX_PIXELS:
            raise DataError(
                f"{path} would be strips of more than {MAX_PIXELS:,} pixels in all: split it"
            )
    return strips


def _lines(grey: NDArray[Any], path: Path, page: int) -> list[InMemoryStrips]:
    """The strips of one page, from top to bottom."""
    lacking, photograph = False, is_photograph(grey)
    if photograph and (inner := within_frame(grey)) is not None and not is_photograph(inner):
        grey, photograph = inner, False  # a drawing in a frame
    if photograph:
        try:
            lines = written_lines(grey, path)
        except InstallationError:
            lacking = True
        except DataError:
            if not is_even(grey):
                raise
        else:
            several, numbered = len(lines) > 1, enumerate(lines, 1)
            for line in lines:
                check_width(line.strip.shape[1], path)
            return [_line(path, page, n if several else None, line) for n, line in numbered]
    strip = strip_of(grey, path)[None]
    return [InMemoryStrips(path, strip, page, is_picture=True, is_unread_photograph=lacking)]


def _line(path: Path, page: int, number: int | None, line: WrittenLine) -> InMemoryStrips:
    strip = line.strip[None]
    return InMemoryStrips(
        path, strip, page, number, line.box, line.places, is_picture=True, unread=line.unread
    )


def _unpacked(path: Path, fit: bool) -> NDArray[np.uint8]:
    """The strips in a `.npz`: its only array, or the one called `images`."""
    try:
        with open_regular(path) as stream, NpzFile(stream) as file:
            name = "images" if "images" in file.names else file.names[0]
            if len(file.names) > 1 and name != "images":
                raise DataError(f"{path} holds {named(file.names)}: call the strips images")
            most = min(MAX_UNPACKED, UNPACKED + 2 * os.fstat(stream.fileno()).st_size)
            stored = file.read(name, partial(_check_unpacked, path, most, fit))
    except UnreadableFileError as error:
        raise DataError(f"{path} {error.reason}") from error
    except DataError:
        raise
    except Exception as error:  # zip and NumPy raise many kinds
        if kind := recognized(path, NPZ):
            raise DataError(f"{path} is {kind}") from error
        raise DataError(
            f"{path} is not a readable .npz ({type(error).__name__}): save it with numpy.savez"
        ) from error
    return (
        fit_strips(stored, path, most - stored.nbytes)
        if fit
        else as_strips(stored, str(path), copy=False)
    )


def _check_unpacked(path: Path, most: int, fit: bool, header: Header) -> None:
    """Refuses an array that are no strips, or take more than `most` bytes."""
    if fit and needs_fit(header):
        made = 2 * stored_shape(header, path)[0] * ROWS * FLAT_WIDTH  # at the least
    else:
        pixels = math.prod(strip_shape(header, path))
        made = 0 if header.dtype == np.uint8 else pixels
    held = header.start + header.nbytes + made
    if held > most:
        raise DataError(
            f"{path} unpacks to {held:,} bytes, more than {most:,}: save its strips as .npy, which "
            "is read in chunks"
        )
