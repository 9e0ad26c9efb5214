"""Arrays as strips and sums, in memory or in `.npy` files: checked and brought to one form.

The contract for images, stated once. Shapes (N, 40, W), (N, 40, W, 1), (N, 1, 40, W), flat
(N, 6720), or one strip (40, W); W from 28 up. Integers in 0..255; floats in 0..1 or 0..255, which
of the two is decided once a file. NaN and infinities are refused. Labels (N,) or (N, 1), whole
and non-negative, of any numeric type. Nothing is ever unpickled.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.strips import CHUNK, FLAT_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError


@dataclass(frozen=True)
class ImageFile:
    """A checked `.npy` file of strips, mapped anew for each slice.

    A mapping that stays open counts as this process's memory, hence one a slice.
    """

    path: Path
    shape: tuple[int, int, int]  # (N, 40, W)
    scale: float  # what stored values are multiplied by to reach 0..255

    @classmethod
    def open(cls, path: Path) -> ImageFile:
        """Opens a file and reads it once through, a chunk at a time, to check its values.

        Raises:
            DataError: The file is not one of strips.
        """
        stored = map_array(path)
        shape = _strip_shape(stored, path)
        return cls(path, shape, _scale(stored, path))

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        count, height, width = self.shape
        stored = map_array(self.path)
        if stored.size != count * height * width:
            raise DataError(f"{self.path} changed while it was being read: start again")
        if stored.ndim == 2 and count == 1:
            stored = stored[None]
        return _in_levels(np.asarray(stored[rows]).reshape(-1, height, width), self.scale)


def as_strips(images: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """An array in memory as uint8 strips (N, 40, W), by the same rules as a file.

    Args:
        images: In any of the shapes and types that files hold.
        name: For messages.

    Raises:
        DataError: These are no strips.
    """
    shape = _strip_shape(images, name)
    return _in_levels(images.reshape(shape), _scale(images, name))


def _in_levels(strips: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """Stored values times `scale`, rounded, as a new array of uint8."""
    if strips.dtype.kind in "fb":
        strips = np.rint(strips.astype(np.float32) * scale)
    return np.array(strips, dtype=np.uint8)


def read_labels(path: Path) -> NDArray[np.int64]:
    """Sums from a `.npy` file, (N,) int64.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1).
    """
    return as_sums(np.array(map_array(path)), path)


def as_sums(stored: NDArray[Any], path: Path | str) -> NDArray[np.int64]:
    """An array in memory as sums (N,), by the same rules as a file; `path` is for messages.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1).
    """
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if stored.ndim != 1 or stored.dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {_describe(stored)}: labels are numbers of shape (N,) or (N, 1)"
        )
    if stored.dtype.kind == "f":
        stored = stored.astype(np.float64)  # half precision cannot be compared with the bound
    with np.errstate(invalid="ignore"):
        wrong = ~((stored >= 0) & (stored < 2**31) & (stored == np.rint(stored)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{path}: label {row} is {stored[row]}: a label is the sum of the digits in its "
            "strip, whole and not negative"
        )
    return stored.astype(np.int64)


def map_array(path: Path) -> NDArray[np.generic]:
    """A `.npy` file mapped read-only; its header is checked against its size before use."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a forged shape overflows with no more than a warning
            return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder: expected a .npy file") from error
    except Exception as error:  # numpy parses headers with Python's own parser: all may come out
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} is not a readable .npy array ({detail}): save it again with numpy.save"
        ) from error


def _strip_shape(stored: NDArray[np.generic], path: Path | str) -> tuple[int, int, int]:
    """(N, 40, W) for any of the shapes that strips come in."""
    shape = stored.shape
    if stored.size == 0:
        raise DataError(f"{path} holds no strips: its shape is {shape}")
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    elif len(shape) == 2 and shape[1] == ROWS * FLAT_WIDTH:
        shape = (shape[0], ROWS, FLAT_WIDTH)
    elif len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[1] != ROWS or shape[2] < MIN_WIDTH:
        raise DataError(
            f"{path} holds {_describe(stored)}: strips are {ROWS} rows high and at least "
            f"{MIN_WIDTH} pixels wide, in shape (N, {ROWS}, W), (N, {ROWS}, W, 1), "
            f"(N, 1, {ROWS}, W), (N, {ROWS * FLAT_WIDTH}) or ({ROWS}, W)"
        )
    return shape


def _scale(stored: NDArray[np.generic], path: Path | str) -> float:
    """What brings stored values to 0..255: 1, or 255 for floats in 0..1 and booleans."""
    kind = stored.dtype.kind
    if kind == "b":
        return 255.0
    if kind not in "iuf":
        raise DataError(f"{path} holds {stored.dtype}: strips are integers in 0..255 or floats")
    if stored.dtype == np.uint8:
        return 1.0
    low, high = np.inf, -np.inf
    for start in range(0, len(stored), CHUNK):
        chunk = stored[start : start + CHUNK]
        low, high = np.minimum(low, chunk.min()), np.maximum(high, chunk.max())  # these keep NaN
        if not np.isfinite([low, high]).all():
            raise DataError(f"{path} holds NaN or infinite pixels: replace them, 0 is background")
    if low < 0 or high > 255:
        raise DataError(
            f"{path} holds pixels from {low:g} to {high:g}: allowed are 0..255, or floats in 0..1"
        )
    return 255.0 if kind == "f" and high <= 1 else 1.0


def _describe(stored: NDArray[np.generic]) -> str:
    return f"{stored.dtype} of shape {stored.shape}"
