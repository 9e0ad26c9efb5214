"""A drawing of one line of digits, dark on light or light on dark, as a strip.

Margins are cut, digits are brought to the height that MNIST's have, and set in the middle of 40
rows. What is a strip already (40 rows, light on black) stays as it is, pixel for pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.pictures import BAND
from digitsum.datasets.strips import FLAT_WIDTH, MAX_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError

DIGIT_ROWS = 20  # height of a digit of MNIST in pixels
MARGIN = 4  # pixels left free around all digits
BLACK = 0.02  # grey level of a strip's background, at most: a JPEG's black is not quite black
FULL_CONTRAST = 0.5  # grey level that the digits of a strip reach
INK = 0.25  # of the contrast, above which a pixel is written on
FLAT = 1  # grey levels of 255 by which the ground of a drawing differs from its most frequent
FLAT_SHARE = 0.8  # of the bare pixels of a drawing that do not differ more, at least
FAINT = 0.08  # of the contrast, above which a pixel may belong to a ruled line
LOOKED_AT = 800  # pixels of a row or a column that are looked at to tell drawings
RULED = 0.4  # share of a row or a column that ink covers in one piece where it is a ruled line
FRAMED = 0.9  # share of a row or a column at an edge that the line of a frame covers
SMALLEST = 24  # rows and columns of a photograph


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
    if is_strip(grey):
        check_width(grey.shape[1], path)
        return np.asarray(_as_bytes(levels)[grey])
    light_ink = back < 0.5 and high - back >= back - low
    ink = levels - back if light_ink else back - levels
    most = high - back if light_ink else back - low
    ink = np.clip(ink / max(most, 0.05), 0, 1)  # an empty page stays empty
    return _scaled(grey, ink, path)


def is_strip(grey: NDArray[Any]) -> bool:
    """Whether grey levels (H, W), uint8 or uint16, are those of a strip: light digits on black."""
    if len(grey) != ROWS or grey.shape[1] < MIN_WIDTH:
        return False
    white = np.iinfo(grey.dtype).max
    return bool(np.median(_edge(grey)) < BLACK * white and int(grey.max()) >= FULL_CONTRAST * white)


def is_even(grey: NDArray[Any]) -> bool:
    """Whether most bare pixels of a page (H, W), uint8 or uint16, have the same level."""
    some = _sampled(grey)
    counts = np.bincount(some.ravel(), minlength=256)
    ground = int(counts.argmax())
    away = np.abs(np.arange(256) - ground)
    bare = counts[away <= INK * np.abs(some - ground).max()].sum()  # what is not written on
    return bool(counts[away <= FLAT].sum() >= FLAT_SHARE * bare)


def _sampled(grey: NDArray[Any]) -> NDArray[np.int64]:
    step = -(-max(grey.shape) // LOOKED_AT)
    return grey[::step, ::step].astype(np.int64) * 255 // np.iinfo(grey.dtype).max


def is_photograph(grey: NDArray[Any]) -> bool:
    """Whether a page (H, W) is more than a drawing of one line on an even ground.

    That is: its ground is lit or grainy, ruled lines run over it, or it holds several lines.

    Args:
        grey: Grey levels, uint8 or uint16 with the largest as white.
    """
    if is_strip(grey) or min(grey.shape) < SMALLEST:
        return False
    some = _sampled(grey)
    away = np.abs(some - int(np.bincount(some.ravel()).argmax()))
    if away.max() <= 4 * FLAT:
        return False  # nothing is on it
    if not is_even(grey):
        return True
    ink = away > INK * away.max()
    faint = away > max(2 * FLAT, FAINT * away.max())
    if min(ink.shape) > 2 * ROWS and _is_ruled(faint):
        return True
    first, last = extents(ink.astype(np.uint8), np.array([False, True]))
    tall = last.max() + 1 - first.min()
    return bool(tall > 2 * digit_height(first, last))


def within_frame(grey: NDArray[Any]) -> NDArray[Any] | None:
    """What stands within a frame around a page (H, W) on an even ground; None if there is none."""
    if not is_even(grey):
        return None
    some, white = _sampled(grey), np.iinfo(grey.dtype).max
    ground = int(np.bincount(some.ravel()).argmax())
    away = np.abs(np.arange(white + 1) * 255 // white - ground)
    written = away > INK * np.abs(some - ground).max()
    edges = []
    for across in (grey, grey[::-1], grey.T, grey.T[::-1]):  # of each side, what is near it
        near = written[across[: max(1, len(across) // 10)]].mean(1) > FRAMED
        if not near.any():
            return None
        edges.append(1 + int(np.flatnonzero(near)[-1]))
    top, bottom, left, right = edges
    return grey[top : len(grey) - bottom, left : grey.shape[1] - right]


def _is_ruled(ink: NDArray[np.bool_]) -> bool:
    """Whether ink (H, W) goes from one edge to the other, or far in a row or a column.

    Digits that fill the height of a low picture do so too, hence the longer side decides there.
    """
    far = RULED * ink.shape[1], RULED * max(ink.shape)
    if any(_longest_run(lines) > most for lines, most in zip((ink, ink.T), far, strict=True)):
        return True
    high = len(ink) >= ink.shape[1] and ink[0].any() and ink[-1].any()
    return bool(high or (ink[:, 0].any() and ink[:, -1].any()))


def _longest_run(ink: NDArray[np.bool_]) -> int:
    """Pixels in the longest run of ink in a row of (H, W)."""
    bare = np.pad(~ink, ((0, 0), (1, 1)), constant_values=True)
    row, column = np.nonzero(bare)
    return int((np.diff(column)[np.diff(row) == 0] - 1).max())


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
    check_width(wide + 2 * MARGIN, path)
    strip = np.zeros((ROWS, max(FLAT_WIDTH, wide + 2 * MARGIN)), np.uint8)
    at = (ROWS - high) // 2
    written = _as_bytes(ink)[grey[top:bottom, left:right]]
    strip[at : at + high, MARGIN : MARGIN + wide] = _resized(written, high, wide)
    return strip


def check_width(width: int, path: Path | str) -> None:
    """Refuses a strip that is too wide, in pixels, and names its file."""
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
