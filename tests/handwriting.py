"""Digits as strokes of a pen, as a hand would move it; each in a box 0.6 wide and 1 high."""

from __future__ import annotations

from itertools import pairwise
from math import cos, pi, sin

Stroke = list[tuple[float, float]]


def arc(x: float, y: float, wide: float, high: float, start: float, stop: float) -> Stroke:
    """Part of an ellipse around (x, y), angles in turns, clockwise from the right."""
    steps = 24
    turns = [start + (stop - start) * i / steps for i in range(steps + 1)]
    return [(x + wide * cos(2 * pi * t), y + high * sin(2 * pi * t)) for t in turns]


def line(*points: tuple[float, float]) -> Stroke:
    """Straight lines, with points on the way."""
    made: Stroke = []
    for (a, b), (c, d) in pairwise(points):
        made += [(a + (c - a) * i / 6, b + (d - b) * i / 6) for i in range(7)]
    return made


DIGITS: dict[int, list[Stroke]] = {
    0: [arc(0.3, 0.5, 0.28, 0.5, -0.25, 0.75)],
    1: [line((0.34, 0.0), (0.26, 1.0))],
    2: [arc(0.3, 0.27, 0.26, 0.27, -0.45, 0.08) + line((0.5, 0.45), (0.04, 0.97), (0.6, 0.95))],
    3: [arc(0.27, 0.26, 0.25, 0.26, -0.42, 0.22) + arc(0.27, 0.75, 0.3, 0.25, -0.25, 0.4)],
    4: [line((0.12, 0.0), (0.05, 0.52), (0.55, 0.48)), line((0.5, 0.05), (0.44, 1.0))],
    5: [line((0.56, 0.02), (0.14, 0.04), (0.1, 0.45)) + arc(0.27, 0.7, 0.28, 0.29, -0.3, 0.4)],
    6: [arc(0.55, 0.6, 0.5, 0.6, -0.28, -0.5) + arc(0.3, 0.73, 0.25, 0.26, -0.5, 0.5)],
    7: [line((0.02, 0.05), (0.56, 0.03), (0.22, 1.0))],
    8: [arc(0.3, 0.25, 0.22, 0.25, 0.25, -0.75) + arc(0.3, 0.75, 0.26, 0.25, -0.25, 0.75)],
    9: [arc(0.3, 0.27, 0.25, 0.26, 0.0, -1.0) + line((0.55, 0.3), (0.46, 1.0))],
}  # fmt: skip


def written(digits: str, x: float, y: float, height: float, gap: float = 0.35) -> list[Stroke]:
    """Digits side by side from (x, y) on, a gap of so many heights between their boxes."""
    strokes = []
    for digit in digits:
        strokes += [[(x + height * a, y + height * b) for a, b in s] for s in DIGITS[int(digit)]]
        x += height * (0.6 + gap)
    return strokes
