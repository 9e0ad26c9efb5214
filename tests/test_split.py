from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from digitsum.datasets.split import split_rows
from digitsum.errors import DataError


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(("count", "validation"), [(5, 1), (6, 2), (60, 12), (30_000, 6_000)])
def test_split_is_that_of_scikit_learn(count: int, validation: int, seed: int) -> None:
    split = split_rows(count, seed)
    train, val = train_test_split(np.arange(count), test_size=0.2, random_state=seed)
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.val, val)
    assert len(split.val) == validation


@pytest.mark.parametrize("limit", [1, 10, 48, 100])
def test_limits_nest_and_leave_validation_whole(limit: int) -> None:
    whole, limited = split_rows(60, 3), split_rows(60, 3, limit)
    np.testing.assert_array_equal(limited.train, whole.train[:limit])
    np.testing.assert_array_equal(limited.val, whole.val)


@pytest.mark.parametrize("count", range(5))
def test_too_few_strips_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} strips? cannot be split.*5 or more"):
        split_rows(count, 0)
