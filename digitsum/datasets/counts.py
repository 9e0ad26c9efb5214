"""How many digits each strip is known to hold, where that differs from strip to strip.

A count is a fact about a strip, as the number of boxes on a form is. It is no label: it says
nothing of which digits they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitsum.display import counted
from digitsum.errors import DataError

if TYPE_CHECKING:
    from digitsum.datasets.arrays import Described

NARROWEST = 4  # pixels that a digit takes at the least: a column of the reader


def as_counts(
    stored: NDArray[Any], name: Path | str, sums: NDArray[np.int64] | None, width: int
) -> NDArray[np.int64]:
    """Counts (N,) or (N, 1) of any numeric type as (N,) int64.

    Args:
        stored: One for each strip.
        name: Where they are from, for messages.
        sums: The labels of the strips, (N,), which as many digits must be able to add up to; None
            where there are none.
        width: Of the strips in pixels; none has room for more than a digit in each column.

    Raises:
        DataError: They are not whole, not one for each strip, or not possible.
    """
    check_form(stored, name)
    flat = stored.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat.astype(np.float64)
    if sums is not None and len(flat) != len(sums):
        seen = f"{counted(len(flat), 'count')} for {counted(len(sums), 'strip')}"
        raise DataError(f"{name}: {seen}: every strip needs one")
    most = -(-width // NARROWEST)
    with np.errstate(all="ignore"):
        wrong = ~((flat >= 1) & (flat <= most) & (flat == np.rint(flat)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name}: count {row} is {flat[row]}: a strip {width} pixels wide holds 1 to {most} "
            "digits, a whole number of them"
        )
    counts: NDArray[np.int64] = flat.astype(np.int64)
    if sums is not None:
        _check_reach(counts, sums, name)
    return counts


def check_form(stored: Described, name: Path | str) -> None:
    """Refuses what no counts are, by its shape and type: before they are read.

    Raises:
        DataError: They are not numbers of shape (N,) or (N, 1).
    """
    if stored.shape[1:] not in ((), (1,)) or not stored.shape or stored.dtype.kind not in "iuf":
        raise DataError(
            f"{name} holds {stored.dtype} of shape {stored.shape}: counts are numbers of shape "
            "(N,) or (N, 1), how many digits each strip holds"
        )


def _check_reach(counts: NDArray[np.int64], sums: NDArray[np.int64], name: Path | str) -> None:
    """Refuses a sum that as many digits cannot add up to."""
    if (few := sums > 9 * counts).any():
        row = int(np.argmax(few))
        raise DataError(
            f"{name}: count {row} is {counts[row]} and the sum of its strip {sums[row]}: "
            f"{counted(int(counts[row]), 'digit')} can add up to {9 * counts[row]} at most; "
            "correct one of them"
        )


def joined_counts(
    counts: Sequence[NDArray[np.int64] | None], names: Sequence[str]
) -> NDArray[np.int64] | None:
    """The counts of several sets in order; None if none of them has any.

    Args:
        counts: Those of each set.
        names: What each set is called.

    Raises:
        DataError: Some have counts and some have none.
    """
    known = [each for each in counts if each is not None]
    if known and len(known) < len(counts):
        numbers = [each is not None for each in counts]
        has, lacks = (names[numbers.index(found)] for found in (True, False))
        raise DataError(
            f"it is known how many digits the strips of {has} hold, and not of {lacks}: give "
            "counts for all of them, or for none"
        )
    return np.concatenate(known) if known else None


def in_words(counts: NDArray[np.int64]) -> str:
    """`2 digits`, or `1 to 6 digits` where they differ."""
    low, high = int(counts.min()), int(counts.max())
    return counted(high, "digit") if low == high else f"{low:,} to {counted(high, 'digit')}"
