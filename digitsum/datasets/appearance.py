"""Strips that do not look like strips: on grey, noisy, of several lines, or with nothing on them.

They are said to be so: a model answers them with the same calm as others. Those that are dark on
light are inverted where that is asked for; all others are read as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.strips import CHUNK, Images, at_once
from digitsum.errors import DataWarning

PIECE = 64  # strips that are looked at together: what is made of them takes several times as much
MIDDLE = 127  # of 255: a background above it is light
GREY = 25  # of 255: no background of a strip is lighter
CONTRAST = 64  # of 255, that what is written has at least
# Of MNIST's, scikit-learn's and blurred strips, none passes the next three.
ROUGH = 8  # of 255, that a pixel lies off the line between those beside it
NOISY = 0.25  # share of rough pixels in the dark; 0.05 in such strips, 0.45 with noise of 10 of 255
BACKGROUND = 0.3  # share of the pixels of a strip that are dark, at least
LONG = 64  # pixels in a row that are written on; 48 where digits touch
FAINT = 8  # of 255, above which a row is not empty
LINE_ROWS = 4  # rows that a line of small digits has at least
PAGE_ROWS = 26  # rows that several lines take; a digit in two pieces takes 20
RARE = 0.02  # share of strips below which these are no lines, but digits in pieces

Invert = Literal["auto", "yes", "no"]  # auto: strips that are dark on light

PLAIN, INVERTED, DARK_ON_LIGHT, ON_GREY, BLANK, NOISE, RULED, LINES = range(8)
ODD = {
    INVERTED: ("dark on light", " were inverted: --invert no takes them as they are"),
    DARK_ON_LIGHT: ("dark on light", ": give 255 minus their pixels, or predict --invert yes"),
    ON_GREY: ("on a grey background", ": subtract it, 0 is background"),
    BLANK: ("blank", ""),
    NOISE: ("noisy", ": smooth them, digits may be read into noise"),
    RULED: ("crossed by a ruled line", ": remove it, it may be read as a digit"),
    LINES: ("of several lines", ": give each line as a strip of its own"),
}


def warn_of_appearance(files: Sequence[Images], name: str, invert: Sequence[Invert] = ()) -> None:
    """Warns, in a line for each kind, of odd ones among the first strips of each file.

    Args:
        files: N strips each.
        name: What the strips are called.
        invert: Which strips of each file will be inverted; by default none.
    """
    found = []
    none: list[Invert] = ["no"] * len(files)
    for file, which in zip(files, invert or none, strict=True):
        strips, inverted = light_on_dark(file[0 : at_once(CHUNK, file.shape[2])], which)
        kinds = kinds_of(strips)
        found.append(np.where(inverted & (kinds == PLAIN) & (which == "auto"), INVERTED, kinds))
    kinds = np.concatenate(found)
    for message in described(kinds, name, sum(file.shape[0] for file in files)):
        warnings.warn(message, DataWarning, stacklevel=2)


def described(kinds: NDArray[np.int64], name: str, total: int) -> list[str]:
    """A line for each odd kind among strips, and what to do.

    Args:
        kinds: From `kinds_of`, for the strips that were looked at.
        name: What the strips are called.
        total: How many there are.
    """
    seen = f"{total:,}" if len(kinds) == total else f"the first {len(kinds):,}"
    lines = []
    for kind, (said, advice) in ODD.items():
        count = int((kinds == kind).sum())
        if count > (RARE * len(kinds) if kind == LINES else 0):
            lines.append(f"{name}: {count:,} of {seen} strips {said}{advice}")
    return lines


def light_on_dark(
    strips: NDArray[np.uint8], invert: Invert
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Strips (N, 40, W), some of them inverted, and which, (N,); the same array if none is."""
    if invert == "no":
        return strips, np.zeros(len(strips), bool)
    dark = np.ones(len(strips), bool) if invert == "yes" else _background(strips) > MIDDLE
    if not dark.any():
        return strips, dark
    return np.where(dark[:, None, None], 255 - strips, strips), dark


def kinds_of(strips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What each strip (N, 40, W) looks like, (N,): `PLAIN` or one of the odd kinds."""
    size = at_once(PIECE, strips.shape[2])
    pieces = (strips[start : start + size] for start in range(0, len(strips), size))
    return np.concatenate([_kinds_of(piece) for piece in pieces])


def _kinds_of(strips: NDArray[np.uint8]) -> NDArray[np.int64]:
    back = _background(strips)
    low, high = strips.min((1, 2)).astype(int), strips.max((1, 2)).astype(int)
    kinds = np.full(len(strips), PLAIN)
    written = strips > CONTRAST
    kinds[_in_lines(strips > FAINT)] = LINES
    kinds[_longest_run(written) > LONG] = RULED
    kinds[_roughness(strips) > NOISY] = NOISE
    kinds[back > GREY] = ON_GREY
    kinds[back > MIDDLE] = DARK_ON_LIGHT
    kinds[high - low < CONTRAST] = BLANK
    return kinds


def _background(strips: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The median of the pixels along the border of each strip (N, 40, W), (N,)."""
    border = np.concatenate(
        [strips[:, 0], strips[:, -1], strips[:, :, 0], strips[:, :, -1]], axis=1
    )
    back: NDArray[np.floating] = np.median(border, axis=1)
    return back


def _roughness(strips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of rough pixels among those that are dark and have dark neighbours in the row, (N,)."""
    dark, wide = strips <= CONTRAST, strips.astype(np.int16)
    dark = dark[:, :, 1:-1] & dark[:, :, :-2] & dark[:, :, 2:]
    bend = 2 * wide[:, :, 1:-1] - wide[:, :, :-2] - wide[:, :, 2:]
    rough = dark & (np.abs(bend) > ROUGH)
    background = np.maximum(dark.sum((1, 2)), BACKGROUND * dark[0].size)
    share: NDArray[np.float64] = rough.sum((1, 2)) / background
    return share


def _longest_run(written: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels in the longest run in a row that is written on, (N, 40, W) -> (N,)."""
    run = np.zeros(written.shape[:2], np.int64)
    longest = run.copy()
    for column in np.moveaxis(written, 2, 0):
        run = (run + 1) * column
        np.maximum(longest, run, out=longest)
    most: NDArray[np.int64] = longest.max(1)
    return most


def _in_lines(written: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether rows are empty between rows that are written on, some of both, (N, 40, W) -> (N,)."""
    rows: NDArray[np.bool_] = np.any(written, axis=2)
    above = np.cumsum(rows, 1)
    high = rows.shape[1] - rows.argmax(1) - rows[:, ::-1].argmax(1)
    enough = (
        (high >= PAGE_ROWS)[:, None] & (above >= LINE_ROWS) & (above[:, -1:] - above >= LINE_ROWS)
    )
    empty = enough[:, 1:] & ~rows[:, 1:] & ~rows[:, :-1]  # two rows that are
    split: NDArray[np.bool_] = np.any(empty, axis=1)
    return split
