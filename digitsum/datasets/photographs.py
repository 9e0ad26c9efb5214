"""Lines of digits on photographs and scans of paper, each as a strip.

The page is brought to a size at which digits are 48 rows high. Its light is divided out, ruled
lines, squares and frames are taken away, and what is left is grouped into lines. Each digit is then
drawn as MNIST's are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.ink import (
    STEEP,
    UPRIGHT,
    above_ground,
    ink_of,
    is_writing,
    levels_of,
    opencv,
    skew,
    without_rulings,
)
from digitsum.datasets.text_lines import (
    HEIGHT,
    digits_of,
    height_of_digits,
    in_order,
    is_beside,
    lines_of,
    mask_of,
    pieces_of,
    slope_of,
    strip_of_units,
    unread_units,
)
from digitsum.errors import DataError

# A line is read as it was drawn, a tenth larger, and moved by half a column of the reader: where
# these readings differ, one alone is surer than it should be. As (scale, columns moved).
LOOKS = ((1.0, 0), (1.1, 0), (1.0, 2))
ROUGH = 900  # pixels of the longer side, at which the height of digits is found
MOST = 2_500_000  # pixels that are looked at in full; larger pages are made smaller

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class WrittenLine:
    """A line of digits on a page.

    Attributes:
        strip: uint8 (40, W), light on black.
        box: Where the line stands on the page, in pixels: left, top, right, bottom.
        places: The place on the page of each column of the strip, float32 (W, 2), as x and y.
        unread: Where something in the line was not read that may be a digit, each as `box`.
    """

    strip: NDArray[np.uint8]
    box: Box
    places: NDArray[np.float32]
    unread: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Look:
    """A strip as it is read once more: somewhat larger, or moved to the right.

    Attributes:
        strip: uint8 (40, W).
        scale: How much larger it is.
        moved: By how many columns.
    """

    strip: NDArray[np.uint8]
    scale: float
    moved: int

    def columns(self, seen: NDArray[np.int32]) -> NDArray[np.int32]:
        """Columns of this strip, -1 where there is none, as columns of the strip as drawn."""
        drawn = np.rint((np.maximum(seen, self.moved) - self.moved) / self.scale)
        return np.where(seen < 0, -1, drawn).astype(np.int32)


def looks_at(strip: NDArray[np.uint8]) -> list[Look]:
    """The ways in which the strip (40, W) of a line is read, as it was drawn first."""
    tall, wide = strip.shape
    looks = []
    for scale, moved in LOOKS:
        to = np.array([[scale, 0, moved], [0, scale, (1 - scale) * tall / 2]])
        size = round(scale * wide) + moved, tall
        seen = strip if (scale, moved) == (1, 0) else opencv().warpAffine(strip, to, size)
        looks.append(Look(seen, scale, moved))
    return looks


def written_lines(grey: NDArray[Any], path: Path | str) -> list[WrittenLine]:
    """The lines of digits on a page from top to bottom.

    Args:
        grey: Grey levels (H, W): uint8 or uint16 with the largest as white.
        path: For messages.

    Raises:
        DataError: Nothing was found that could be digits.
        InstallationError: OpenCV is missing.
    """
    cv2 = opencv()
    rough = _at_scale(cv2, grey, min(1.0, ROUGH / max(grey.shape)))
    light = _is_light_on_dark(cv2, rough)
    height, tilt = _rough_look(255 - rough if light else rough)
    if not height:
        raise _nothing(path)
    height *= max(grey.shape) / max(rough.shape)
    scale = min(HEIGHT / height, math.sqrt(MOST / grey.size))
    page = _at_scale(cv2, grey, scale)
    page = 255 - page if light else page
    if (found := _lines_on(page, scale, tilt)) is None:
        raise _nothing(path)
    return found


def _nothing(path: Path | str) -> DataError:
    return DataError(
        f"{path}: no line of handwriting was found on this page: take the picture nearer, "
        "sharper, or with more light, and of the paper alone"
    )


def _at_scale(cv2: Any, grey: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    tall, wide = grey.shape
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    page = cv2.resize(np.ascontiguousarray(grey), size, interpolation=way)
    return np.asarray(page if page.dtype == np.uint8 else (page >> 8).astype(np.uint8))


def _is_light_on_dark(cv2: Any, grey: NDArray[np.uint8]) -> bool:
    """Whether what is written is lighter than the paper, which is the median around it."""
    small = _at_scale(cv2, grey, min(1.0, 400 / max(grey.shape)))
    away = small.astype(np.float32) - cv2.medianBlur(small, max(9, max(small.shape) // 6) | 1)
    light, dark = np.maximum(away, 0), np.maximum(-away, 0)
    return float(np.square(light).sum()) > 1.5 * float(np.square(dark).sum())


def _rough_look(grey: NDArray[np.uint8]) -> tuple[float, tuple[float, float]]:
    """Height of the digits in pixels, and the tilt of rows and columns in degrees."""
    side = max(grey.shape)
    ink = ink_of(grey, max(15, side // 9) | 1)
    tilt = skew(ink), -skew(ink.T.copy())
    levels = levels_of(ink)
    rest = without_rulings(ink, (0.3 * side, 0.3 * side), levels.stroke, tilt, 1.5)
    levels = levels_of(rest)
    pieces, _ = pieces_of(rest, levels.threshold)
    return height_of_digits(pieces, grey.shape), tilt


def _lines_on(
    page: NDArray[np.uint8], scale: float, tilt: tuple[float, float]
) -> list[WrittenLine] | None:
    """The lines of a page whose digits are `HEIGHT` rows high."""
    cv2 = opencv()
    ink = above_ground(ink_of(page, int(0.5 * HEIGHT) | 1), int(1.6 * HEIGHT))
    levels = levels_of(ink)
    length = (STEEP * HEIGHT, UPRIGHT * HEIGHT)
    ink = without_rulings(ink, length, levels.stroke, tilt, 2.0)
    levels = levels_of(ink)
    pieces, labels = pieces_of(ink, levels.threshold)
    lines = lines_of(digits_of(pieces, ink.shape))
    if not lines or not is_writing(ink, mask_of(lines, labels), levels):
        return None
    turn = np.array([[1.0, 0, 0], [0, 1, 0]])
    if abs(slope := slope_of(lines)) > 0.01:
        tall, wide = ink.shape
        turn = cv2.getRotationMatrix2D((wide / 2, tall / 2), math.degrees(math.atan(slope)), 1.0)
        ink = cv2.warpAffine(ink, turn, (wide, tall))
        pieces, labels = pieces_of(ink, levels.threshold)
        lines = lines_of(digits_of(pieces, ink.shape))
    back = cv2.invertAffineTransform(turn) / scale
    others = unread_units(ink, mask_of(lines, labels), levels.faint)
    found = []
    for line in lines:
        units = in_order(line)
        strip, anchors = strip_of_units(units, ink, labels)
        places = _places(strip.shape[1], anchors, back)
        unread = [_box([unit], back) for unit in others if is_beside(unit, line)]
        found.append(WrittenLine(strip, _box(units, back), places, tuple(unread)))
    return found or None


def _box(units: Any, back: NDArray[np.float64]) -> Box:
    left, top = min(u.left for u in units), min(u.top for u in units)
    right, bottom = max(u.right for u in units), max(u.bottom for u in units)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    x, y = (corners @ back[:, :2].T + back[:, 2]).T
    return int(x.min()), int(y.min()), math.ceil(x.max()), math.ceil(y.max())


def _places(
    width: int, anchors: list[tuple[float, float, float]], back: NDArray[np.float64]
) -> NDArray[np.float32]:
    columns, x, y = np.array(anchors, float).T
    every = np.arange(width)
    points = np.stack([np.interp(every, columns, x), np.interp(every, columns, y)], 1)
    return (points @ back[:, :2].T + back[:, 2]).astype(np.float32)
