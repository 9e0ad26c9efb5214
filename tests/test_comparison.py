from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digitsum.datasets.strips import StripSet
from digitsum.errors import DataError, UsageError
from digitsum.evaluation.comparison import Pair, check_count, common_rows, paired_test
from digitsum.evaluation.overlap import check_same_validation


def pair_of(only_a: int, only_b: int, both: int = 80, neither: int = 4) -> Pair:
    counts = [only_a, only_b, both, neither]
    right_a = np.repeat([True, False, True, False], counts)
    right_b = np.repeat([False, True, True, False], counts)
    return paired_test("a", "b", right_a, right_b, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (5, 0, 2 / 2**5),
        (0, 5, 2 / 2**5),
        (1, 0, 1.0),
        (3, 3, 1.0),
        (9, 1, 2 * (1 + 10) / 2**10),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_the_p_value_is_mcnemars_by_hand(only_a: int, only_b: int, p_value: float) -> None:
    assert pair_of(only_a, only_b).p_value == pytest.approx(p_value)
    assert pair_of(only_a, only_b, both=500, neither=90).p_value == pytest.approx(p_value)


def test_models_that_never_disagree_do_not_differ() -> None:
    assert pair_of(0, 0) == Pair("a", "b", difference=0.0, ci95=(0.0, 0.0), p_value=1.0)


counts = st.integers(0, 60)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(counts, counts, counts, st.integers(1, 60))
def test_the_interval_holds_the_difference_and_swapping_mirrors_it(
    only_a: int, only_b: int, both: int, neither: int
) -> None:
    pair, swapped = pair_of(only_a, only_b, both, neither), pair_of(only_b, only_a, both, neither)
    low, high = pair.ci95
    step = 100 / (only_a + only_b + both + neither)  # one strip, in points
    assert pair.difference == pytest.approx((only_a - only_b) * step)
    assert low <= pair.difference <= high
    assert (swapped.difference, swapped.p_value) == (-pair.difference, pytest.approx(pair.p_value))
    assert swapped.ci95 == pytest.approx((-high, -low), abs=4 * step)


def test_the_interval_nears_the_normal_one_on_many_strips() -> None:
    half = 1.96 * 100 * np.sqrt((0.09 + 0.07 - 0.02**2) / 10_000)
    # 0.05 is five standard errors of a 2.5% quantile of 10,000 resamples
    got = pair_of(900, 700, both=8_000, neither=400).ci95
    assert got == pytest.approx((2 - half, 2 + half), abs=0.05)


def model(fingerprint: str, val: list[int], name: str = "m.pt") -> Any:
    split = {"train": torch.tensor([], dtype=torch.int32), "val": torch.tensor(val)}
    data = {"fingerprint": fingerprint, "name": [name]}
    return SimpleNamespace(name=name, checkpoint=SimpleNamespace(split=split, data=data))


def test_only_rows_that_all_models_of_the_data_validated_on_count(strips: StripSet) -> None:
    own = strips.fingerprint
    split, rows = common_rows(
        [model(own, [9, 3, 5]), model("x", [2]), model(own, [5, 7, 9])], strips
    )
    assert (split, rows.tolist()) == ("val", [5, 9])
    split, rows = common_rows([model("x", [2]), model("y", [3])], strips)
    assert (split, rows.tolist()) == ("data", list(range(60)))
    with pytest.raises(DataError, match="no strip of these validated"):
        common_rows([model(own, [1, 2]), model(own, [3])], strips)


def test_models_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="two or more"):
        check_count([object()])


def test_runs_of_other_strips_or_splits_are_refused() -> None:
    def run(fingerprint: str, val: list[int], name: str = "m.pt") -> Any:
        return name, model(fingerprint, val, name).checkpoint

    first = run("x", [1, 2])
    check_same_validation([first, run("x", [2, 1])])
    with pytest.raises(UsageError, match=r"m\.pt and n\.pt were trained on different strips"):
        check_same_validation([first, run("y", [1, 2], "n.pt")])
    with pytest.raises(UsageError, match=r"m\.pt and n\.pt validated on different strips"):
        check_same_validation([first, run("x", [1, 3], "n.pt")])
