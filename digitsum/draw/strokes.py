"""Strokes of a pen as a strip that looks like training strips: size, thickness, grey edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.strips import MIN_WIDTH, ROWS
from digitsum.errors import DataError

HEIGHT = 20.0  # pixels that a digit of MNIST is high
PEN = 3.3  # pixels that its strokes are wide
MARGIN = 4.0  # pixels around its digits
MAX_WIDTH = 1000  # pixels that a strip is wide at most
MAX_POINTS = 5000

Stroke = NDArray[np.float64]  # (P, 2) x and y of its points


@dataclass(frozen=True)
class Ink:
    """A strip, and where it lies in the drawing: x = left + pixel / scale."""

    strip: NDArray[np.uint8]  # (40, W)
    scale: float  # pixels of the strip for one of the drawing
    left: float  # in the drawing


def parse(given: object) -> list[Stroke]:
    """Strokes from plain lists of [x, y] points.

    Raises:
        DataError: They are anything else, not finite, none, or too many.
    """
    wrong = DataError("strokes are lists of [x, y] points, finite numbers from -10000 to 10000")
    if not isinstance(given, list) or not given:
        raise DataError("there are no strokes: write something")
    strokes: list[Stroke] = []
    points = 0
    for stroke in given:
        if not isinstance(stroke, list) or not stroke:
            raise wrong
        points += len(stroke)
        if points > MAX_POINTS:
            raise DataError(f"these are more than {MAX_POINTS} points: clear the page")
        for point in stroke:
            plain = isinstance(point, list) and len(point) == 2
            if not plain or not all(type(n) in (int, float) and abs(n) <= 1e4 for n in point):
                raise wrong
        strokes.append(np.array(stroke, np.float64))
    return strokes


def strip_of_strokes(strokes: Sequence[Stroke], width: int | None = None) -> Ink:
    """The strip that strokes make.

    Digits are brought to the height of MNIST's by one factor for all, each of the same pen however
    large it was written, and set in the middle of the strip's height.

    Args:
        strokes: What was written.
        width: Width of the strip in pixels; None: as wide as it takes.

    Raises:
        DataError: It does not fit into that width.
    """
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    room = ROWS - PEN - 1
    scale = HEIGHT / max(_height(strokes), 1e-6)
    scale = min(scale, room / max(high[1] - low[1], 1e-6), 10.0)
    wide = int(np.ceil((high[0] - low[0]) * scale + PEN + 2 * MARGIN))
    most = width or MAX_WIDTH
    if wide > most:
        raise DataError(
            f"this is {wide} pixels wide at the size that digits are read in, and {most} are "
            "what fits: write fewer digits, or closer"
        )
    made = width or max(MIN_WIDTH, wide)
    corner = np.array([low[0] - (MARGIN + PEN / 2) / scale, (low[1] + high[1]) / 2])
    level = np.zeros((ROWS, made))
    for stroke in strokes:
        _stroke(level, (stroke - corner) * scale + [0, ROWS / 2])
    return Ink(np.rint(255 * level).astype(np.uint8), scale, float(corner[0]))


def _height(strokes: Sequence[Stroke]) -> float:
    """Median height of the digits: strokes that stand above one another are of one digit."""
    spans = sorted((s[:, 0].min(), s[:, 0].max(), s[:, 1].min(), s[:, 1].max()) for s in strokes)
    groups = [list(spans[0])]
    for left, right, top, bottom in spans[1:]:
        last = groups[-1]
        if left <= last[1]:
            last[1:] = [max(last[1], right), min(last[2], top), max(last[3], bottom)]
        else:
            groups.append([left, right, top, bottom])
    return float(np.median([max(bottom - top, (right - left) / 2)
                            for left, right, top, bottom in groups]))  # fmt: skip


def _stroke(level: NDArray[np.float64], points: Stroke) -> None:
    """Draws lines between points in place: full within half a pen of them, grey at the edge."""
    ends = points[1:] if len(points) > 1 else points
    reach = PEN / 2 + 1
    for a, b in zip(points, ends, strict=False):
        left, top = np.floor(np.minimum(a, b) - reach).astype(int).clip(0)
        right, bottom = np.ceil(np.maximum(a, b) + reach).astype(int)
        patch = level[top:bottom, left:right]
        y, x = np.mgrid[top : top + patch.shape[0], left : left + patch.shape[1]] + 0.5
        along = b - a
        share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(along @ along, 1e-12)
        share = share.clip(0, 1)
        distance = np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
        np.maximum(patch, (PEN / 2 + 0.5 - distance).clip(0, 1), out=patch)
