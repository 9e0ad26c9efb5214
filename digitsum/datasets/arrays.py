"""Arrays as strips and sums, in memory or in `.npy` files: checked and brought to one form.

The contract for images, stated once. Shapes (N, 40, W), (N, 40, W, 1), (N, 1, 40, W), flat
(N, 6720), or one strip (40, W); W in 28..10000. What could be one strip or forty flat ones is
refused. Integers in 0..255 or 0..1; floats in 0..1 or 0..255, which of the two is decided once a
file, with a margin. NaN and infinities are refused. Labels (N,) or (N, 1), whole and non-negative,
of any numeric type. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.npy import NpyFile
from digitsum.datasets.strips import CHUNK, FLAT_WIDTH, MAX_WIDTH, MIN_WIDTH, ROWS
from digitsum.display import counted
from digitsum.errors import DataError, DataWarning

if TYPE_CHECKING:
    from digitsum.datasets.fitting import FittedFile

BRIGHT = 64  # of 255: no file of strips has all its pixels below
AMBIGUOUS = ROWS * MIN_WIDTH  # pixels in the narrowest flat strip
DIM = 0.5  # of the scale: few files of strips have all their pixels below
MARGIN = 0.2  # of the scale: resizing by a cubic spline leaves it by 0.15
ROUNDING = 1e-3  # of which nothing has to be said
CONVERTED = CHUNK // 8  # strips at a time: 3 MB of float32


class Described(Protocol):
    """What is known of an array before it is read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


class Stored(Described, Protocol):
    """An array in memory, or in a file, of which a slice reads rows."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class ImageFile:
    """A checked `.npy` file of strips, opened anew for each slice.

    A file that stays open counts as one of those that a process may have, hence one a slice.
    """

    path: Path
    shape: tuple[int, int, int]  # (N, 40, W)
    scale: float  # what stored values are multiplied by to reach 0..255
    stored: NpyFile = field(repr=False)  # as it was checked

    @classmethod
    def open(cls, path: Path) -> ImageFile:
        """Opens a file and reads it once through, a chunk at a time, to check its values.

        Raises:
            DataError: The file is not one of strips, or changes meanwhile.
        """
        stored = NpyFile.open(path)
        shape = strip_shape(stored, path)
        return cls(path, shape, scale_of(stored, path), stored)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        count, height, width = self.shape
        if len(self.stored.shape) == 2 and count == 1:
            return in_levels(self.stored[:][None][rows], self.scale)
        return in_levels(self.stored[rows].reshape(-1, height, width), self.scale)


def as_strips(images: NDArray[np.generic], name: str, copy: bool = True) -> NDArray[np.uint8]:
    """An array in memory as uint8 strips (N, 40, W), by the same rules as a file.

    Args:
        images: In any of the shapes and types that files hold.
        name: For messages.
        copy: Whether the strips have memory of their own in any case.

    Raises:
        DataError: These are no strips.
    """
    shape = strip_shape(images, name)
    strips = in_levels(images.reshape(shape), scale_of(images, name))
    return strips.copy() if copy and np.may_share_memory(strips, images) else strips


def in_levels(strips: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """Stored values times `scale`, rounded, as uint8; a few strips at a time."""
    if strips.dtype == np.uint8 and scale == 1:
        return strips
    levels = np.empty(strips.shape, np.uint8)
    size = _rows_at_once(strips, CONVERTED)
    for start in range(0, len(strips), size):
        with np.errstate(under="ignore"):  # of pixels that are nearly 0
            scaled = strips[start : start + size].astype(np.float32) * scale
            levels[start : start + size] = np.rint(np.clip(scaled, 0, 255))
    return levels


def _rows_at_once(stored: Described, strips: int) -> int:
    """At most so many rows of an array, and no more than take the room of common strips."""
    row = max(1, math.prod(stored.shape[1:]))
    return max(1, min(strips, strips * ROWS * FLAT_WIDTH // row))


def read_labels(path: Path, strips: ImageFile | FittedFile | None = None) -> NDArray[np.int64]:
    """Sums from a `.npy` file, (N,) int64.

    Args:
        path: The file.
        strips: Those that the labels belong to; their numbers are compared before any is read.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1), or not one
            for each strip.
    """
    stored = NpyFile.open(path)
    _check_labels(stored, path)
    if strips and stored.shape[0] != strips.shape[0]:
        raise DataError(
            f"{path} holds {counted(stored.shape[0], 'label')} for the "
            f"{counted(strips.shape[0], 'strip')} of {strips.path}: every strip needs one"
        )
    return as_sums(stored[:], path)


def _check_labels(stored: Described, path: Path | str) -> None:
    if stored.shape[1:] not in ((), (1,)) or not stored.shape or stored.dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {_describe(stored)}: labels are numbers of shape (N,) or (N, 1)"
        )


def as_sums(stored: NDArray[Any], path: Path | str) -> NDArray[np.int64]:
    """An array in memory as sums (N,), by the same rules as a file; `path` is for messages.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1).
    """
    _check_labels(stored, path)
    stored = stored.reshape(-1)
    with np.errstate(all="ignore"):
        if stored.dtype.kind == "f":
            stored = stored.astype(np.float64)  # half precision cannot be compared with the bound
        wrong = ~((stored >= 0) & (stored < 2**31) & (stored == np.rint(stored)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{path}: label {row} is {stored[row]}: a label is the sum of the digits in its "
            "strip, whole and not negative"
        )
    return stored.astype(np.int64)


def strip_shape(stored: Described, path: Path | str) -> tuple[int, int, int]:
    """(N, 40, W) for any of the shapes that strips come in.

    Raises:
        DataError: It is none of them.
    """
    shape = stored.shape
    if not math.prod(shape):
        raise DataError(f"{path} holds no strips: its shape is {shape}")
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    elif len(shape) == 2 and shape[0] == ROWS and shape[1] % ROWS == 0 and shape[1] >= AMBIGUOUS:
        raise DataError(
            f"{path} holds {_describe(stored)}, which may be one strip {shape[1]} pixels wide or "
            f"{ROWS} flat ones {shape[1] // ROWS} pixels wide: reshape it to (1, {ROWS}, "
            f"{shape[1]}) or ({ROWS}, {ROWS}, {shape[1] // ROWS})"
        )
    elif len(shape) == 2 and shape[1] == ROWS * FLAT_WIDTH:
        shape = (shape[0], ROWS, FLAT_WIDTH)
    elif len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[1] != ROWS or shape[2] < MIN_WIDTH:
        raise DataError(
            f"{path} holds {_describe(stored)}: strips are {ROWS} rows high and at least "
            f"{MIN_WIDTH} pixels wide, in shape (N, {ROWS}, W), (N, {ROWS}, W, 1), "
            f"(N, 1, {ROWS}, W), (N, {ROWS * FLAT_WIDTH}) or ({ROWS}, W); --fit (in Python "
            "fit=True, of an estimator fit_rows=True) scales other heights"
        )
    if shape[2] > MAX_WIDTH:
        raise DataError(
            f"{path} holds strips {shape[2]:,} pixels wide, more than {MAX_WIDTH:,}: cut them into "
            "pieces"
        )
    return shape


def scale_of(stored: Stored, path: Path | str) -> float:
    """What brings stored values to 0..255: 1, or 255 for floats in 0..1, 0/1 and booleans.

    Values just outside are cut off. What cannot be told is refused: 0..16 is neither.
    """
    kind = stored.dtype.kind
    if kind == "b":
        return 255.0
    if kind not in "iuf":
        raise DataError(f"{path} holds {stored.dtype}: strips are integers in 0..255 or floats")
    seen = Levels.of(stored, path)
    if seen.low == seen.high == 0:
        return 1.0
    if kind != "f" and (seen.low, seen.high) == (0, 1):
        return 255.0
    if not (top := seen.white(kind)):
        raise DataError(
            f"{path} holds pixels from {seen.low:g} to {seen.high:g}, and what is white cannot be "
            "told: give integers in 0..255, or floats in 0..1 or 0..255, 0 for background"
        )
    if seen.high < DIM * top:
        warnings.warn(
            f"{path} holds pixels up to {seen.high:g} alone: read as 0..{top}; if that is white, "
            f"multiply them by {top} / {seen.high:g}",
            DataWarning,
            stacklevel=2,
        )
    off = max(-seen.low, seen.high - top) / top
    if off > ROUNDING:
        larger = f"; {seen.above:,} are larger than 1" if top == 1 else ""
        warnings.warn(
            f"{path} holds pixels from {seen.low:g} to {seen.high:g}{larger}: read as 0..{top}, "
            "and what lies outside was cut off",
            DataWarning,
            stacklevel=2,
        )
    return 255 / top


@dataclass
class Levels:
    """What tells on which scale the pixels of a file are."""

    low: float = math.inf
    high: float = -math.inf
    above: int = 0  # pixels over 1
    unit: int = 0  # bright ones, if white is 1
    byte: int = 0  # bright ones, if white is 255

    @classmethod
    def of(cls, stored: Stored, path: Path | str) -> Levels:
        """Reads through an array, of uint8 only as far as it takes.

        Raises:
            DataError: There is a pixel that is not finite.
        """
        seen = cls()
        size = _rows_at_once(stored, CHUNK)
        for start in range(0, stored.shape[0], size):
            chunk: NDArray[Any] = stored[start : start + size]
            seen.low = np.minimum(seen.low, chunk.min())  # these keep NaN
            seen.high = np.maximum(seen.high, chunk.max())
            if not np.isfinite([seen.low, seen.high]).all():
                raise DataError(
                    f"{path} holds NaN or infinite pixels: replace them, 0 is background"
                )
            if stored.dtype == np.uint8 and seen.high >= DIM * 255:
                break
            if stored.dtype.kind == "f":
                seen.above += int((chunk > 1).sum())
                seen.unit += int(((chunk >= BRIGHT / 255) & (chunk <= 1 + MARGIN)).sum())
                seen.byte += int((chunk >= BRIGHT).sum())
        return seen

    def white(self, kind: str) -> int:
        """What white is, 1 or 255; 0 where that cannot be told.

        Blurred and resized strips have many small pixels, and rescaled ones some that are far too
        large. But of those that would be bright on one scale or the other, most are on the right
        one. Where none would be bright on either, nobody can tell.
        """
        if kind != "f":
            return 255 if self.low >= 0 and BRIGHT <= self.high <= 255 else 0
        inside = self.high <= 1 + MARGIN or self.unit > 4 * self.above
        if inside and self.unit and self.low >= -MARGIN:
            return 1
        within = self.low >= -255 * MARGIN and self.high <= 255 * (1 + MARGIN)
        return 255 if within and self.byte and self.above > 2 * self.unit else 0


def _describe(stored: Described) -> str:
    return f"{stored.dtype} of shape {stored.shape}"
