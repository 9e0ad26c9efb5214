"""Which strips train and which validate: a pure function of count and seed, kept in checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitsum.display import counted
from digitsum.errors import DataError

VALIDATION = 0.2  # share of the strips (technical report, 2.1)


@dataclass(frozen=True)
class Split:
    """Row numbers of the training and the validation strips."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Split({len(self.train):,} to train, {len(self.val):,} to validate)"


def folds(count: int, seed: int) -> list[Split]:
    """Splits of `count` rows, each of which validates on another fifth; together on all.

    Args:
        count: Strips in all.
        seed: Of the order in which they are dealt out.

    Raises:
        DataError: There are too few strips to split.
    """
    from sklearn.model_selection import KFold

    _check_count(count)
    dealt = KFold(round(1 / VALIDATION), shuffle=True, random_state=seed)
    return [Split(train, val) for train, val in dealt.split(np.arange(count))]


def split_rows(count: int, seed: int, limit: int | None = None) -> Split:
    """Splits `count` rows as scikit-learn's `train_test_split` does, not stratified.

    Args:
        count: Strips in all.
        seed: Its `random_state`.
        limit: Keeps the first `limit` of the training split's seeded order, so that smaller sets
            nest in larger ones; validation stays whole.

    Raises:
        DataError: There are too few strips to split.
    """
    from sklearn.model_selection import train_test_split

    _check_count(count)
    train, val = train_test_split(np.arange(count), test_size=VALIDATION, random_state=seed)
    return Split(train[:limit], val)


def _check_count(count: int) -> None:
    if count < 5:
        raise DataError(
            f"{counted(count, 'strip')} cannot be split into training and validation: give 5 or "
            "more"
        )
