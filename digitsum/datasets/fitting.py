"""Strips of other heights than 40 rows, brought to them as pictures are: `--fit`.

Strips of 28 rows, single digits of 28x28 or 20x20, scans of 64 rows: of each one the margins are
cut, its digits are scaled to the height that MNIST's have, and set in the middle of 40 rows (see
`drawings.strip_of`). A file of them gives strips of one width: the widest's, the others end in
black. What has 40 rows already stays as it is.

Letters: N strips, H rows and W columns as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import Described, ImageFile, Stored, as_strips, in_levels, scale_of
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.npy import NpyFile
from digitsum.datasets.strips import FLAT_WIDTH, MAX_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError

SMALLEST = 8  # rows and columns in what can be scaled: a digit needs that many
HIGHEST = 2_000  # rows in it
LARGEST = 4_000_000  # pixels in it
PIECE = 1 << 22  # values of a file that are scaled at a time


@dataclass(frozen=True)
class FittedFile:
    """A checked `.npy` of strips of another height; a slice reads rows and scales them."""

    path: Path
    shape: tuple[int, int, int]  # (N, 40, W) of the strips that they become
    scale: float  # what stored values are multiplied by to reach 0..255
    stored: NpyFile = field(repr=False)  # as it was checked

    @classmethod
    def open(cls, path: Path, stored: NpyFile) -> FittedFile:
        """Reads a file twice through, a piece at a time: for its values, and for its widest strip.

        Raises:
            DataError: It holds no strips, or one that would be too wide.
        """
        count = stored_shape(stored, path)[0]
        scale = scale_of(stored, path)
        width = max(strip.shape[1] for strip in _fitted(stored, scale, path, range(count)))
        return cls(path, (count, ROWS, width), scale, stored)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        wanted = range(*rows.indices(self.shape[0]))
        strips = np.zeros((len(wanted), *self.shape[1:]), np.uint8)
        fitted = _fitted(self.stored, self.scale, self.path, wanted)
        for place, strip in zip(strips, fitted, strict=True):
            place[:, : strip.shape[1]] = strip
        return strips


def open_strips(path: Path, fit: bool = False) -> ImageFile | FittedFile:
    """A checked `.npy` file of strips; with `fit`, those of another height are brought to 40 rows.

    Raises:
        DataError: It is not one of strips.
    """
    if fit and needs_fit(stored := NpyFile.open(path)):
        return FittedFile.open(path, stored)
    return ImageFile.open(path)


def fit_strips(
    images: NDArray[Any], name: Path | str, most: int | None = None
) -> NDArray[np.uint8]:
    """An array in memory as uint8 strips (N, 40, W), scaled if they have another height.

    Args:
        images: (N, H, W), (N, H, W, 1), (N, 1, H, W) or one, (H, W), of the values that files hold.
        name: For messages.
        most: Bytes that the strips take at most, all of the widest's width.

    Raises:
        DataError: These are no strips, or they take more.
    """
    if not needs_fit(images):
        return as_strips(images, str(name), copy=False)
    count = stored_shape(images, name)[0]
    fitted: list[NDArray[np.uint8]] = []
    widest = 0
    for strip in _fitted(images, scale_of(images, name), name, range(count)):
        fitted.append(strip)
        widest = max(widest, strip.shape[1])
        if most is not None and (held := count * ROWS * widest) > most:
            raise DataError(
                f"{name} becomes strips of {held:,} bytes, more than {most:,}: save what it holds "
                "as .npy, which is read in chunks"
            )
    strips = np.zeros((count, ROWS, widest), np.uint8)
    for place in strips[::-1]:  # each leaves memory as it gets its place
        strip = fitted.pop()
        place[:, : strip.shape[1]] = strip
    return strips


def needs_fit(stored: Described) -> bool:
    """Whether these are images of another height than strips; flat ones are strips."""
    shape = _squeezed(stored.shape)
    if len(shape) == 2:
        return shape[0] != ROWS and shape[1] != ROWS * FLAT_WIDTH
    return len(shape) == 3 and not (shape[1] == ROWS and shape[2] >= MIN_WIDTH)


def stored_shape(stored: Described, name: Path | str) -> tuple[int, int, int]:
    """(N, H, W) for what `needs_fit`.

    Raises:
        DataError: It is too small or too large to be scaled, or holds nothing.
    """
    shape = _squeezed(stored.shape)
    count, height, width = shape if len(shape) == 3 else (1, *shape)
    fits = SMALLEST <= height <= HIGHEST and SMALLEST <= width <= MAX_WIDTH
    if not count or not fits or height * width > LARGEST:
        raise DataError(
            f"{name} holds {stored.dtype} of shape {stored.shape}: --fit scales strips of "
            f"{SMALLEST} to {HIGHEST:,} rows and {SMALLEST} to {MAX_WIDTH:,} columns, "
            f"{LARGEST:,} pixels at most, in shape (N, H, W), (N, H, W, 1), (N, 1, H, W) or "
            "(H, W); reshape flat ones"
        )
    return count, height, width


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its axis of channels."""
    if len(shape) == 4 and shape[3] == 1:
        return shape[:3]
    return (shape[0], *shape[2:]) if len(shape) == 4 and shape[1] == 1 else shape


def _fitted(
    stored: Stored, scale: float, name: Path | str, rows: range
) -> Iterator[NDArray[np.uint8]]:
    """The strips (40, W) that these rows become, each of its own width; a piece at a time."""
    _, height, width = stored_shape(stored, name)
    size = max(1, PIECE // (height * width))
    for start in range(rows.start, rows.stop, size):
        stop = min(start + size, rows.stop)
        piece = stored[:] if len(stored.shape) == 2 else stored[start:stop]
        for grey in in_levels(piece.reshape(-1, height, width), scale):
            yield strip_of(grey, name)
