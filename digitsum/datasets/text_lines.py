"""Lines of digits among what is written on a page, and each of them as a strip.

Lengths are in heights of a digit. A page is scaled so that one is `HEIGHT` pixels high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.ink import Ink, opencv
from digitsum.datasets.strips import FLAT_WIDTH, ROWS

HEIGHT = 48  # pixels
DIGIT_ROWS = 20  # height of a digit of MNIST in a strip
PITCH = 28  # columns that a digit has in a strip, at least
REACH = 2.2  # from a digit to the next one in the line, at most
MOST = 1_500  # pieces that are looked at, the largest
TOUCHING = 0.04  # gap below which neighbours stay as they stand
GAP = 0.25  # between the dots and dashes that a broken digit consists of, at most
MOST_DOTS = 100  # of a digit; more are no strokes
STROKES = (3.0, 4.0)  # width of a stroke in a strip: MNIST's is some 3.3


class _Boxed:
    left: int
    top: int
    right: int
    bottom: int

    @property
    def high(self) -> int:
        return self.bottom - self.top

    @property
    def wide(self) -> int:
        return self.right - self.left

    def is_within(self, tall: int, wide: int) -> bool:
        """Whether this keeps away from the border of a page of this size."""
        return self.left > 1 and self.top > 1 and self.right < wide - 1 and self.bottom < tall - 1

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass
class Piece(_Boxed):
    """Ink that hangs together."""

    label: int
    left: int
    top: int
    right: int
    bottom: int
    area: int
    ink: float  # of its pixels, in the mean


class Unit(_Boxed):
    """Pieces that are one digit, or digits that touch."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces: list[Piece] = []
        for piece in pieces:
            self.add(piece)

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        if len(self.pieces) == 1:
            self.left, self.top, self.right, self.bottom = (
                piece.left,
                piece.top,
                piece.right,
                piece.bottom,
            )
            self.area = piece.area
            return
        self.left, self.top = min(self.left, piece.left), min(self.top, piece.top)
        self.right, self.bottom = max(self.right, piece.right), max(self.bottom, piece.bottom)
        self.area += piece.area

    @property
    def is_digit(self) -> bool:
        """Whether this is large enough for one."""
        return self.high >= 0.4 * HEIGHT and self.area >= 0.015 * HEIGHT**2

    @property
    def is_broken(self) -> bool:
        """Whether this consists of dots and dashes."""
        return len(self.pieces) > 3 and max(p.area for p in self.pieces) < 0.5 * self.area


def pieces_of(ink: Ink, threshold: float) -> tuple[list[Piece], NDArray[np.int32]]:
    """All pieces of ink, and the label of each pixel (H, W)."""
    cv2 = opencv()
    mask = (ink > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    weights = np.bincount(labels.ravel(), ink.ravel(), minlength=count)
    pieces = [
        Piece(n, left, top, left + wide, top + high, area, float(weights[n]) / area)
        for n, (left, top, wide, high, area) in enumerate(stats.tolist())
        if n and area > 3
    ]
    return pieces, labels


def height_of_digits(pieces: Sequence[Piece], shape: tuple[int, ...]) -> float:
    """Height of most of the ink in pixels; 0 if there is none."""
    tall, wide = shape
    kept = [p for p in pieces if not (p.wide > 0.6 * wide and p.wide > 3 * p.high)]
    kept = [p for p in kept if p.high < 0.7 * tall or len(kept) == 1 or wide > 2 * tall]
    kept = [p for p in kept if max(p.high, p.wide) >= 8 and p.area < 0.6 * p.high * p.wide + 40]
    if not kept:
        return 0.0
    kept.sort(key=lambda piece: piece.high)
    weights = np.cumsum([p.area for p in kept])
    return float(kept[int(np.searchsorted(weights, weights[-1] / 2))].high)


def lines_of(units: Sequence[Unit]) -> list[list[Unit]]:
    """The digits of each line, from top to bottom."""
    digits = sorted(units, key=lambda unit: unit.left)
    left, top, right, bottom = _boxes_of(digits).T

    def follow(n: int) -> NDArray[np.bool_]:
        shared = np.minimum(bottom, bottom[n]) - np.maximum(top, top[n])
        least = 0.45 * np.minimum(bottom - top, bottom[n] - top[n])
        near = (left >= left[n]) & (left - right[n] < REACH * HEIGHT) & (shared > least)
        return np.asarray(near)

    lines = _connected(digits, follow)
    return sorted(lines, key=lambda line: float(np.mean([unit.middle[1] for unit in line])))


def digits_of(pieces: Sequence[Piece], shape: tuple[int, ...]) -> list[Unit]:
    """What is as large and as dark as a digit, each with its parts; no specks, no remains."""
    size, (tall, wide) = HEIGHT, shape
    kept = [p for p in pieces if p.high <= 2.2 * size and p.wide <= 6 * size]
    large = [p.ink for p in kept if p.high >= 0.5 * size and p.area >= 0.02 * size * size]
    if not large:
        return []
    usual = float(np.median(large))
    kept = [p for p in kept if p.ink > 0.55 * usual]
    kept = [p for p in kept if p.ink > 0.85 * usual or p.is_within(tall, wide)]
    kept = sorted(kept, key=lambda piece: -piece.area)[:MOST]
    units: list[Unit] = []
    boxes = np.full((MOST, 4), np.inf)  # of the units: left, top, right, bottom
    parts = [p for p in kept if p.area >= 0.003 * size * size]
    for piece in parts:
        away = _distances(piece, boxes[: len(units)])
        n = int(away.argmin()) if len(units) else 0
        if piece.high < 0.5 * size and len(units) and away[n] < 0.17 * size:
            units[n].add(piece)
        else:
            n = len(units)
            units.append(Unit([piece]))
        boxes[n] = units[n].left, units[n].top, units[n].right, units[n].bottom
    digits = [u for u in units if u.is_digit]
    rest = [u for u in units if not u.is_digit] + [Unit([p]) for p in kept[len(parts) :]]
    for group in _joined(rest):
        if part_of := _broken_beside(group, digits):
            for piece in group.pieces:
                part_of.add(piece)
        elif _is_broken_digit(group, digits):
            digits.append(group)
    return digits


def _joined(small: Sequence[Unit]) -> list[Unit]:
    """Units that stand near one another as one: the dots and dashes of a broken digit."""
    boxes = _boxes_of(small)
    groups = _connected(small, lambda n: _distances(small[n], boxes) < GAP * HEIGHT)
    return [Unit([piece for unit in group for piece in unit.pieces]) for group in groups]


def _broken_beside(group: Unit, digits: Sequence[Unit]) -> Unit | None:
    """The broken digit that dots and dashes stand beside, if they are a part of it."""
    broken = [unit for unit in digits if unit.is_broken]
    for unit, away in zip(broken, _distances(group, _boxes_of(broken)), strict=True):
        both = Unit([*unit.pieces, *group.pieces])
        if away < GAP * HEIGHT and both.high < 1.6 * HEIGHT and both.wide < 1.2 * HEIGHT:
            return unit
    return None


def _is_broken_digit(group: Unit, digits: Sequence[Unit]) -> bool:
    """Whether dots and dashes are as large as a digit, or as two, and in a line with digits."""
    if not (group.is_digit and len(group.pieces) > 2):
        return False
    size_fits = 0.5 * HEIGHT <= group.high <= 1.6 * HEIGHT and group.wide <= 2.2 * HEIGHT
    return size_fits and is_beside(group, digits)


def is_beside(group: Unit, digits: Sequence[Unit]) -> bool:
    """Whether this stands in a line with digits."""
    return any(
        min(group.bottom, u.bottom) - max(group.top, u.top) > 0.6 * min(group.high, u.high)
        and max(u.left - group.right, group.left - u.right) < REACH * HEIGHT
        for u in digits
    )


def unread_units(ink: Ink, own: NDArray[np.bool_], threshold: float) -> list[Unit]:
    """What belongs to no digit, and may be one that is fainter or smaller than the others.

    What touches the border is the edge of a shadow more often than a digit.

    Args:
        ink: Of the page, (H, W).
        own: Which pixels belong to digits, (H, W).
        threshold: Ink above which a pixel may be written on.
    """
    pieces, labels = pieces_of(ink, threshold)
    near = opencv().dilate(own.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    read = set(np.unique(labels[near]).tolist())
    tall, wide = ink.shape
    rest = [p for p in pieces if p.label not in read and p.is_within(tall, wide)]
    rest.sort(key=lambda piece: -piece.area)
    return [
        group
        for group in _joined([Unit([piece]) for piece in rest[:MOST]])
        if group.area >= 0.015 * HEIGHT**2
        and 0.3 * HEIGHT <= group.high <= 2.2 * HEIGHT
        and group.wide <= 2.2 * HEIGHT
    ]


def _connected(units: Sequence[Unit], near: Callable[[int], NDArray[np.bool_]]) -> list[list[Unit]]:
    """Units in groups that hang together; which are near one, by its number, says the callable."""
    owner = np.arange(len(units))
    for n in range(len(units)):
        owner[np.isin(owner, owner[near(n)])] = owner[n]
    groups: dict[int, list[Unit]] = {}
    for unit, root in zip(units, owner.tolist(), strict=True):
        groups.setdefault(root, []).append(unit)
    return list(groups.values())


def _boxes_of(units: Sequence[Unit]) -> NDArray[np.float64]:
    """Left, top, right and bottom of units, (n, 4)."""
    return np.array([(u.left, u.top, u.right, u.bottom) for u in units], float).reshape(-1, 4)


def _distances(one: Piece | Unit, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """From a piece to each of the boxes (n, 4) of left, top, right, bottom, (n,)."""
    across = np.maximum(boxes[:, 0] - one.right, one.left - boxes[:, 2])
    down = np.maximum(boxes[:, 1] - one.bottom, one.top - boxes[:, 3])
    return np.hypot(np.maximum(across, 0), np.maximum(down, 0))


def mask_of(lines: Sequence[Sequence[Unit]], labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which pixels (H, W) belong to the digits of lines."""
    own = np.zeros(int(labels.max()) + 1, bool)
    own[[piece.label for line in lines for unit in line for piece in unit.pieces]] = True
    return own[labels]


def slope_of(lines: Sequence[Sequence[Unit]]) -> float:
    """The slope of all lines together, drawn to 0 as far as they are short."""
    along, spread = 0.0, 4.0 * HEIGHT**2
    for line in lines:
        x, y = np.array([unit.middle for unit in line], float).T
        along += float(((x - x.mean()) * (y - y.mean())).sum())
        spread += float(np.square(x - x.mean()).sum())
    return along / spread


def in_order(line: Sequence[Unit]) -> list[Unit]:
    """The digits of a line from left to right; parts of one, above one another, together."""
    units: list[Unit] = []
    for unit in sorted(line, key=lambda unit: unit.middle[0]):
        last = units[-1] if units else None
        shared = last.right - unit.left if last else -HEIGHT
        least = min(unit.wide, last.wide) if last else 1
        if last and (shared > 0.5 * least or shared > -TOUCHING * HEIGHT):
            units[-1] = Unit([*last.pieces, *unit.pieces])
        else:
            units.append(unit)
    return units


def strip_of_units(
    units: Sequence[Unit], ink: Ink, labels: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], list[tuple[float, float, float]]]:
    """A strip (40, W), and where its columns are from: (column, x, y) of the ends of each unit."""
    height = float(np.median([unit.high for unit in units]))
    drawn = [_drawn(unit, height, ink, labels) for unit in units]
    columns, left = [], 4
    for image in drawn:
        columns.append(left + max(0, (PITCH - image.shape[1]) // 2))
        left += max(PITCH, image.shape[1] + 8)
    strip = np.zeros((ROWS, max(FLAT_WIDTH, left + 4)), np.uint8)
    anchors: list[tuple[float, float, float]] = []
    for unit, image, at in zip(units, drawn, columns, strict=True):
        tall, wide = image.shape
        rows = image.sum(1, dtype=float)
        weight = float((rows * np.arange(tall)).sum() / max(rows.sum(), 1))
        top = int(np.clip(round(ROWS / 2 - 0.5 - weight), 1, max(1, ROWS - tall - 1)))
        part = strip[top : top + tall, at : at + wide]
        np.maximum(part, image[: len(part)], out=part)
        y = (unit.top + unit.bottom) / 2
        anchors += [(at, unit.left, y), (at + wide - 1, unit.right - 1, y)]
    return strip, anchors


def _drawn(unit: Unit, height: float, ink: Ink, labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """A unit as MNIST draws its digits: 20 rows high, with soft edges."""
    cv2 = opencv()
    pad = 4
    rows = slice(max(0, unit.top - pad), unit.bottom + pad)
    columns = slice(max(0, unit.left - pad), unit.right + pad)
    own = np.isin(labels[rows, columns], [piece.label for piece in unit.pieces])
    near = cv2.dilate(own.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    near &= own | (labels[rows, columns] == 0)
    grey = np.where(near, ink[rows, columns], 0).astype(np.float32)
    full = float(np.percentile(grey[own], 70))
    if unit.is_broken:
        _join_dots(grey, unit, labels[rows, columns], full)
    high, wide = unit.high, unit.right - unit.left
    scale = DIGIT_ROWS / high if 0.6 < high / height < 1.6 else DIGIT_ROWS / height
    scale = min(scale, (ROWS - 4) / high)
    if len(unit.pieces) == 1 and wide > high:
        scale = min(scale, max(DIGIT_ROWS / wide, 0.75 * DIGIT_ROWS / high))
    grey = with_stroke(np.clip(grey / max(full, 1), 0, 1), scale)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(255 * np.clip(1.15 * small, 0, 1)), np.uint8)


def _join_dots(
    grey: NDArray[np.float32], unit: Unit, labels: NDArray[np.int32], ink: float
) -> None:
    """Draws lines between dots and dashes, each to its relative neighbours (Toussaint, 1980).

    These are two that have no third nearer to both, so that lines follow the stroke and close its
    loops. The lines are as wide as the dots.
    """
    if len(unit.pieces) > MOST_DOTS:
        return
    where = [np.argwhere(labels == piece.label) for piece in unit.pieces]
    gaps = np.full((len(where), len(where)), np.inf)
    ends = {}
    for (a, one), (b, other) in combinations(enumerate(where), 2):
        apart = np.hypot(*(one[:, None] - other).transpose(2, 0, 1))
        i, j = divmod(int(apart.argmin()), len(other))
        gaps[a, b] = gaps[b, a] = apart[i, j]
        ends[a, b] = one[i, ::-1].tolist(), other[j, ::-1].tolist()
    wide = float(np.median([p.area / max(p.high, p.wide) for p in unit.pieces]))
    for (a, b), (start, stop) in ends.items():
        gap = gaps[a, b]
        if gap < GAP * HEIGHT and not (np.maximum(gaps[a], gaps[b]) < gap).any():
            opencv().line(grey, start, stop, ink, max(1, round(wide)))


def with_stroke(grey: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Ink in 0..1 whose strokes are as wide as MNIST's, once it is scaled."""
    cv2 = opencv()
    mask = (grey > 0.5).astype(np.uint8)
    edges, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(edge, True) for edge in edges)
    width = 2 * float(mask.sum()) / max(length, 1.0) + 1
    wanted = float(np.clip(width * scale, *STROKES)) / scale
    more = (wanted - width) / 2
    if abs(more) < 0.3:
        return grey
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.asarray(np.clip((inside - outside + more) / 2 + 0.5, 0, 1), np.float32)
