"""Ink on paper: uneven light divided out, and ruled lines, squares and frames taken away.

Ink is uint8 (H, W): 0 is bare paper, 255 what reflects nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.errors import InstallationError

SKEW = 8.0  # degrees by which rows may be tilted
FAINT = 15  # ink that is no ruled line, of 255
STEEP = 1.6  # height of a digit that no stroke of its own reaches across, in such heights
UPRIGHT = 2.0  # likewise from top to bottom
SOFT = 0.1  # share of faint ink around digits less that of dark ink, from which these are clouds
CROWDED = 0.15  # share of a page that ink covers, from which it had better be dark
DARK = 0.63  # share of dark ink on a crowded page, at least
MENDED = 5  # pixels of a stroke that a line may have cut

Ink = NDArray[np.uint8]


def opencv() -> Any:
    """OpenCV, which reading photographs needs.

    Raises:
        InstallationError: It is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise InstallationError(
            "photographs need OpenCV: pip install 'digitsum[pictures]'"
        ) from error
    return cv2


@dataclass(frozen=True)
class Levels:
    """How much ink a stroke has, and how much of what looks like ink is noise."""

    stroke: float
    paper: float
    noise: float

    @property
    def threshold(self) -> float:
        """Ink above which a pixel is written on."""
        return self._above(0.34)

    @property
    def faint(self) -> float:
        """Ink above which a pixel may be written on, with a fainter pen."""
        return self._above(0.17)

    def _above(self, share: float) -> float:
        return max(share * self.stroke, self.paper + 4.5 * self.noise, 8)


def ink_of(grey: NDArray[np.uint8], kernel: int) -> Ink:
    """What paper reflects less than around it, (H, W) -> (H, W), whatever the light.

    The background is a grey closing: it fills what is dark and narrower than the kernel, and keeps
    the edges of shadows, however sharp, where they are.

    Args:
        grey: Dark on light.
        kernel: Wider than any stroke, in pixels.
    """
    cv2 = opencv()
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    element = cv2.getStructuringElement(cv2.MORPH_RECT, (kernel, kernel))
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, element, borderType=cv2.BORDER_REPLICATE)
    paper = cv2.max(cv2.blur(paper, (kernel // 4 + 1,) * 2), smooth)
    share = cv2.divide(cv2.GaussianBlur(grey, (0, 0), 0.6), cv2.max(paper, 1), scale=255.0)
    return np.asarray(255 - share)


def above_ground(ink: Ink, window: int) -> Ink:
    """Ink without what noise and soft shadows add to bare paper, the median around each pixel.

    Args:
        ink: Of a page.
        window: In which digits cover less than half, in pixels.
    """
    cv2 = opencv()
    tall, wide = ink.shape
    size = max(1, wide // 3), max(1, tall // 3)  # noise is no longer there, and it is faster
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    ground = cv2.resize(cv2.medianBlur(small, window // 3 | 1), (wide, tall))
    return np.asarray(cv2.subtract(ink, ground))


def levels_of(ink: Ink) -> Levels:
    """Of a page on which little is written."""
    cv2 = opencv()
    middle = float(np.median(ink))
    below = ink[ink <= middle]
    noise = 1.48 * float(np.median(middle - below)) if len(below) else 0.0
    split, _ = cv2.threshold(ink, 0, 255, cv2.THRESH_OTSU)
    counts = np.cumsum(np.bincount(ink[ink > max(split, 20)], minlength=256))
    stroke = float(np.searchsorted(counts, 0.97 * counts[-1])) if counts[-1] else 0.0
    return Levels(stroke, middle, noise)


def is_writing(ink: Ink, mask: NDArray[np.bool_], levels: Levels) -> bool:
    """Whether ink looks like strokes: most of it dark, with steep edges, and not everywhere.

    Args:
        ink: Of a page.
        mask: Where something as large as a digit is.
        levels: Of the ink.
    """
    cv2 = opencv()
    written = max(int(mask.sum()), 1)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    dark = int((ink[mask] > 0.7 * levels.stroke).sum()) / written
    edge = int((ink[near] > 0.5 * levels.threshold).sum()) / written - 1
    return edge - dark < SOFT and (written < CROWDED * ink.size or dark > DARK)


def skew(ink: Ink) -> float:
    """The angle in degrees, counterclockwise, at which the rows of ink are the sharpest."""
    cv2 = opencv()
    scale = min(1.0, 600 / max(ink.shape))
    small = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    best, step = 0.0, 1.0
    for reach in (SKEW, 1.0, 0.2):
        step = reach / 8
        angles = best + step * np.arange(-8, 9)
        scores = [_sharpness(cv2, small, float(angle)) for angle in angles]
        best = float(angles[int(np.argmax(scores))])
    return best


def _sharpness(cv2: Any, ink: Ink, angle: float) -> float:
    """How much the sums of rows differ from one to the next, after a turn by minus an angle."""
    tall, wide = ink.shape
    turn = cv2.getRotationMatrix2D((wide / 2, tall / 2), -angle, 1.0)
    rows = cv2.reduce(cv2.warpAffine(ink, turn, (wide, tall)), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    return float(np.square(np.diff(rows[:, 0])).sum())


def without_rulings(
    ink: Ink, length: tuple[float, float], stroke: float, tilt: tuple[float, float], reach: float
) -> Ink:
    """Ink without straight lines, and with the strokes mended that they cross.

    Args:
        ink: Of a page.
        length: Of lines across and of lines down, at least, in pixels.
        stroke: Ink of a stroke.
        tilt: Of lines across and of lines down, in degrees counterclockwise.
        reach: Degrees by which single lines may differ from that.
    """
    cv2 = opencv()
    across = rulings(ink, length[0], tilt[0], reach)
    down = np.ascontiguousarray(rulings(ink.T.copy(), length[1], -tilt[1], reach).T)
    line = np.maximum(across, down)
    if not line.any():
        return ink
    weak = line.astype(np.float32)
    room = np.maximum(stroke - weak, 0.25 * stroke)
    rest = np.clip((ink - 1.1 * weak - 4) / room, 0, 1) * stroke
    rest = np.where(line > 0, np.minimum(rest, ink), ink).astype(np.uint8)
    for marks, shape in ((across, (1, MENDED)), (down, (MENDED, 1))):
        filled = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones(shape[::-1], np.uint8))
        rest = np.where(marks > 0, np.maximum(rest, filled), rest)
    return np.asarray(rest)


def rulings(ink: Ink, length: float, tilt: float, reach: float) -> Ink:
    """How much of the ink (H, W) is lines from left to right, (H, W).

    The ink is turned to each angle in turn, smoothed along the rows, and opened along them. A line
    may drift by a pixel from its angle.
    """
    cv2 = opencv()
    found = np.zeros_like(ink)
    long = max(9, round(length))
    tall, wide = ink.shape
    if wide < 1.3 * long:
        return found
    step = max(0.35, math.degrees(2.5 / long))
    for angle in tilt + step * np.arange(-math.ceil(reach / step), math.ceil(reach / step) + 1):
        turn, size = _turned(cv2, wide, tall, -float(angle))
        rows = cv2.warpAffine(ink, turn, size, flags=cv2.INTER_LINEAR)
        rows = cv2.dilate(cv2.blur(rows, (long // 5, 1)), np.ones((3, 1), np.uint8))
        rows = cv2.morphologyEx(rows, cv2.MORPH_OPEN, np.ones((1, long), np.uint8))
        back = cv2.warpAffine(
            rows, turn, (wide, tall), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        found = cv2.max(found, back)
    return np.asarray(np.where(found > FAINT, found, 0), np.uint8)


def _turned(cv2: Any, wide: int, tall: int, angle: float) -> tuple[Any, tuple[int, int]]:
    """The turn by an angle, and the size of what holds all of a page that is turned so."""
    turn = cv2.getRotationMatrix2D((wide / 2, tall / 2), angle, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    size = math.ceil(wide * cos + tall * sin), math.ceil(tall * cos + wide * sin)
    turn[:, 2] += (size[0] - wide) / 2, (size[1] - tall) / 2
    return turn, size
