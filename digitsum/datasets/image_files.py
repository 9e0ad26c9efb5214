"""Strips from files that hold no sums: `.npy`, `.npz`, and pictures of any size.

A picture of digits side by side, dark on light or light on dark, becomes one strip: margins are
cut, digits are brought to the height that MNIST's have, and set in the middle of 40 rows. One that
is a strip already (40 rows, light on black) stays as it is, pixel for pixel. Photographs of paper,
with their shadows and lines, are beyond this.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ImageFile, as_strips, strip_shape
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
from digitsum.datasets.pictures import BAND, MAX_PIXELS, NAMES, SUFFIXES, grey_pages, is_picture
from digitsum.datasets.strips import FLAT_WIDTH, MAX_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError
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

if TYPE_CHECKING:
    from digitsum.datasets.fitting import FittedFile

DIGIT_ROWS = 20  # height of a digit of MNIST in pixels
MARGIN = 4  # pixels left free around all digits
UNPACKED = 100_000_000  # bytes of strips in a .npz, at most, besides twice what the file has
MAX_UNPACKED = 1 << 30  # bytes of them in a file of any size
BLACK = 0.02  # grey level of a strip's background, at most: a JPEG's black is not quite black
FULL_CONTRAST = 0.5  # grey level that the digits of a strip reach
INK = 0.25  # of the contrast, above which a pixel is written on


@dataclass(frozen=True)
class InMemoryStrips:
    """Strips in memory that came from a file."""

    path: Path
    strips: NDArray[np.uint8]  # (N, 40, W)
    first: int = 0  # number of the first of them in the file

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 40, W)."""
        return self.strips.shape

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        return self.strips[rows]


def open_images(paths: Sequence[Path]) -> list[ImageFile | FittedFile | InMemoryStrips]:
    """Strips of `.npy` and `.npz` files, of pictures, and of folders of pictures, in order.

    Raises:
        DataError: A file is missing or broken, or a folder holds no picture.
    """
    files = [file for path in paths for file in files_of(path)[0]]
    return [opened for file in files for opened in open_image(file)]


def files_of(path: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder, or its `.npy` files if it has none, and a line about the rest.

    The files that a pattern such as `scans/*.png` names, if nothing has that very name. Of
    anything else, itself.

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
    return sorted(found, key=by_number), left_out(path, found, f"pictures ({NAMES})")


def open_image(path: Path, fit: bool = False) -> list[ImageFile | FittedFile | InMemoryStrips]:
    """The strips of one file, whose content says what it is; of a picture, one for each page.

    Args:
        path: The file.
        fit: Whether strips of other heights in a `.npy` or `.npz` are scaled; see `fitting`.

    Raises:
        DataError: It is missing or broken, or none that is read.
    """
    from digitsum.datasets.fitting import open_strips  # which builds on this module

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


def _pages(path: Path) -> list[ImageFile | FittedFile | InMemoryStrips]:
    """A strip for each page of a picture."""
    strips: list[ImageFile | FittedFile | InMemoryStrips] = []
    held = 0
    for page, grey in enumerate(grey_pages(path)):
        strips.append(InMemoryStrips(path, strip_of(grey, path)[None], page))
        held += math.prod(strips[-1].shape)
        if held > MAX_PIXELS:
            raise DataError(
                f"{path} would be strips of more than {MAX_PIXELS:,} pixels in all: split it"
            )
    return strips


def _unpacked(path: Path, fit: bool) -> NDArray[np.uint8]:
    """The strips in a `.npz`: its only array, or the one called `images`."""
    from digitsum.datasets.fitting import fit_strips

    try:
        with open_regular(path) as stream, NpzFile(stream) as file:
            name = "images" if "images" in file.names else file.names[0]
            if len(file.names) > 1 and name != "images":
                raise DataError(f"{path} holds {named(file.names)}: call the strips images")
            size = os.fstat(stream.fileno()).st_size
            stored = file.read(name, partial(_check_unpacked, path, size, fit))
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
    return fit_strips(stored, path) if fit else as_strips(stored, str(path), copy=False)


def _check_unpacked(path: Path, size: int, fit: bool, header: Header) -> None:
    """Refuses an array in a file of `size` bytes that are no strips, or too many for memory."""
    from digitsum.datasets.fitting import needs_fit, stored_shape

    if fit and needs_fit(header):
        made = 2 * stored_shape(header, path)[0] * ROWS * FLAT_WIDTH  # at the least
    else:
        pixels = math.prod(strip_shape(header, path))
        made = 0 if header.dtype == np.uint8 else pixels
    held = header.start + header.nbytes + made
    most = min(MAX_UNPACKED, UNPACKED + 2 * size)
    if held > most:
        raise DataError(
            f"{path} unpacks to {held:,} bytes, more than {most:,}: save its strips as .npy, which "
            "is read in chunks"
        )


def strip_of(grey: NDArray[Any], path: Path | str) -> NDArray[np.uint8]:
    """The strip (40, W) in a picture.

    Args:
        grey: Grey levels (H, W): uint8 or uint16 with the largest as white, or floats in 0..1.
        path: For messages.

    Raises:
        DataError: The digits do not fit into a strip, however they are scaled.
    """
    if grey.dtype.kind == "f":
        grey = np.rint(65535 * np.clip(grey, 0, 1)).astype(np.uint16)
    levels = np.linspace(0, 1, np.iinfo(grey.dtype).max + 1)  # that grey may have
    back = float(np.median(_edge(grey))) * levels[1]
    low, high = levels[grey.min()], levels[grey.max()]
    is_strip = len(grey) == ROWS and grey.shape[1] >= MIN_WIDTH
    if is_strip and back < BLACK and high >= FULL_CONTRAST:
        _check_width(grey.shape[1], path)
        return np.asarray(_as_bytes(levels)[grey])
    light_ink = back < 0.5 and high - back >= back - low
    ink = levels - back if light_ink else back - levels
    most = high - back if light_ink else back - low
    ink = np.clip(ink / max(most, 0.05), 0, 1)  # an empty page stays empty
    return _scaled(grey, ink, path)


def _edge(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _scaled(grey: NDArray[Any], ink: NDArray[np.float64], path: Path | str) -> NDArray[np.uint8]:
    """What is written on a page (H, W) as a strip; `ink` says how much each grey level is."""
    first, last = extents(grey, ink > INK)
    columns = np.flatnonzero(last >= 0)
    if not len(columns):
        return np.zeros((ROWS, FLAT_WIDTH), np.uint8)
    top, bottom, left, right = first.min(), last.max() + 1, columns[0], columns[-1] + 1
    scale = min(DIGIT_ROWS / digit_height(first, last), (ROWS - 4) / (bottom - top))
    high, wide = (max(1, round(float(size * scale))) for size in (bottom - top, right - left))
    _check_width(wide + 2 * MARGIN, path)
    strip = np.zeros((ROWS, max(FLAT_WIDTH, wide + 2 * MARGIN)), np.uint8)
    at = (ROWS - high) // 2
    written = _as_bytes(ink)[grey[top:bottom, left:right]]
    strip[at : at + high, MARGIN : MARGIN + wide] = _resized(written, high, wide)
    return strip


def _check_width(width: int, path: Path | str) -> None:
    if width > MAX_WIDTH:
        raise DataError(
            f"{path} would be a strip {width:,} pixels wide, more than {MAX_WIDTH:,}: cut it into "
            "pieces"
        )


def extents(
    grey: NDArray[Any], written: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last row in each column of (H, W) on which something is written, (W,).

    A few rows at a time are looked at. Where a column is empty, they are H and -1.

    Args:
        grey: Grey levels.
        written: Which of the levels are ink.
    """
    height, width = grey.shape
    first, last = np.full(width, height), np.full(width, -1)
    for top in range(0, height, size := max(1, BAND // width)):
        mask = written[grey[top : top + size]]
        found = np.flatnonzero(mask.any(0))
        mask = mask[:, found]
        first[found] = np.minimum(first[found], top + mask.argmax(0))
        last[found] = top + len(mask) - 1 - mask[::-1].argmax(0)
    return first, last


def digit_height(first: NDArray[np.int64], last: NDArray[np.int64]) -> float:
    """Median height of what is written between empty columns; see `extents`."""
    columns = np.flatnonzero(last >= 0)
    starts = np.flatnonzero(np.diff(columns, prepend=-2) > 1)  # of columns side by side
    ends = np.maximum.reduceat(last[columns], starts) + 1
    heights = ends - np.minimum.reduceat(first[columns], starts)
    return float(np.median(heights[heights > 0.4 * heights.max()]))  # not dots and specks


def _as_bytes(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(255 * levels).astype(np.uint8)


def _resized(written: NDArray[np.uint8], high: int, wide: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(written)
    return np.asarray(image.resize((wide, high), Image.Resampling.BICUBIC))
