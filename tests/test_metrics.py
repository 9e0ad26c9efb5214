from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitsum.errors import DataError
from digitsum.evaluation.metrics import score
from digitsum.predictions import Predictions


@pytest.mark.parametrize(
    ("count", "exact", "within", "total", "printed"),
    [
        (24_000, 8_297, 19_289, 21_823, ("0.9092917", 34.57083333333333, 80.37083333333334)),
        (6_000, 1_808, 4_356, 6_724, ("1.1206666", 30.133333333333333, 72.6)),
        (24_000, 23_690, 23_946, 385, ("0.016041666", 98.70833333333333, 99.775)),
        (6_000, 5_695, 5_883, 556, ("0.09266666", 94.91666666666667, 98.05)),
    ],
)
def test_the_technical_reports_figures_come_out_of_such_readings(
    count: int, exact: int, within: int, total: int, printed: tuple[str, float, float]
) -> None:
    far = count - within  # strips more than one off; they share what is left of the total
    share, rest = divmod(total - (within - exact), far)
    errors = np.repeat([0, 1, share, share + 1], [exact, within - exact, far - rest, rest])
    assert (len(errors), errors.sum()) == (count, total)
    errors *= np.where(np.arange(count) % 2, 1, -1)
    metrics = score(18.25 + errors, 18 + errors, np.full(count, 18))
    got = (str(np.float32(metrics.mae)), metrics.exact_accuracy, metrics.within_one_accuracy)
    assert (metrics.count, got) == (count, printed)
    assert metrics.mse == pytest.approx(np.mean((errors + 0.25) ** 2))  # of the value
    assert metrics.mse != pytest.approx(np.mean(errors**2))  # not of the sum read


def test_four_strips_by_hand() -> None:
    got = score([1.5, 4.0, -3.0, 40.0], [2, 4, -3, 40], [1, 4, 0, 36]).to_dict()
    mse = (0.25 + 9 + 16) / 4  # nothing is clipped
    want = {"count": 4, "mse": mse, "rmse": mse**0.5, "mae": 2.0, "exact_accuracy": 25.0}
    assert got == want | {"within_one_accuracy": 50.0}
    assert all(type(value) in (int, float) for value in got.values())


sums = st.integers(0, 36)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-50, 50), sums, sums), min_size=1, max_size=30))
def test_metrics_agree_among_themselves(rows: list[tuple[float, int, int]]) -> None:
    metrics = score(*zip(*rows, strict=True))
    assert 0 <= metrics.exact_accuracy <= metrics.within_one_accuracy <= 100
    assert metrics.rmse**2 == pytest.approx(metrics.mse)


@pytest.mark.parametrize("lengths", [(0, 0, 0), (2, 3, 3), (3, 2, 3), (3, 3, 2), (0, 0, 1)])
def test_lengths_that_cannot_be_scored_are_named(lengths: tuple[int, int, int]) -> None:
    shapes = [rf"\({length},\)" for length in lengths]
    expected = "values {} and sums {} against true sums {}".format(*shapes)
    with pytest.raises(DataError, match=expected):
        score(*(np.zeros(length) for length in lengths))


def predictions(digits: list[list[int]]) -> Predictions:
    value = np.array([sum(row) for row in digits], np.float32)
    return Predictions(value, value.astype(np.int64), digits=np.array(digits, np.int8))


def test_readings_are_joined_in_order_and_digits_padded() -> None:
    joined = Predictions.concatenate([predictions([[1, 2], [3, 3]]), predictions([[4, 5, 6]])])
    assert (len(joined), joined.sum.tolist(), joined.value.tolist()) == (3, [3, 6, 15], [3, 6, 15])
    assert joined.digits is not None
    assert joined.digits.dtype == np.int8
    assert joined.digits.tolist() == [[1, 2, -1], [3, 3, -1], [4, 5, 6]]
    assert joined.confidence is None
