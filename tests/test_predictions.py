"""Predictions as a person handles them in Python."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from digitsum.predictions import SHOWN, CountCheck, Prediction, Predictions, pad_and_join


def four() -> Predictions:
    return Predictions(
        sum=np.array([8, 7, 0, 12]),
        value=np.array([7.93, 7.0, 0.1, 12.4], np.float32),
        confidence=np.array([0.99, 0.5, 0.9, 0.75], np.float32),
        digits=np.array([[3, 5, -1], [7, -1, -1], [-1, -1, -1], [3, 4, 5]], np.int8),
        positions=np.array([[0, 44, -1], [12, -1, -1], [-1, -1, -1], [4, 40, 80]], np.int16),
    )


def test_an_index_gives_one_and_a_slice_gives_several() -> None:
    predictions = four()
    assert len(predictions) == 4
    first = predictions[0]
    assert (first.sum, first.digits, first.positions) == (8, [3, 5], [0, 44])
    assert predictions[-1].digits == [3, 4, 5]
    assert predictions[2].digits == []
    cut = predictions[1:3]
    assert isinstance(cut, Predictions)
    assert cut.sum.tolist() == [7, 0]
    assert cut.strips is None
    assert [p.sum for p in predictions[::-1]] == [12, 0, 7, 8]
    with pytest.raises(IndexError):
        predictions[4]


def test_iteration_gives_plain_values() -> None:
    for prediction, total in zip(four(), (8, 7, 0, 12), strict=True):
        assert type(prediction) is Prediction
        assert (type(prediction.sum), type(prediction.value)) == (int, float)
        assert prediction.sum == total
        assert "strip" not in prediction.to_dict()
    assert [str(p) for p in four()][:3] == [
        "3 + 5 = 8, confidence 99.0%", "7 = 7, confidence 50.0%", "no digit = 0, confidence 90.0%",
    ]  # fmt: skip


def test_a_count_that_is_unlikely_stands_beside_the_confidence() -> None:
    sums, sure = np.array([8, 8]), np.array([0.99, 0.99], np.float32)
    counts = np.array([1.0, 0.003], np.float32)
    found = Predictions(sums, sums.astype(np.float32), sure, counts)
    assert [str(each) for each in found] == [
        "8, confidence 99.0%", "8, confidence 99.0%, but count probability 0.3%",
    ]  # fmt: skip
    assert "count probability" in str(found)
    assert "count probability" not in str(found[:1])
    assert found.probability is not None
    assert found.probability.tolist() == pytest.approx([0.99, 0.00297])
    assert found[1].probability == pytest.approx(0.00297)
    assert found[1].to_dict()["count_probability"] == pytest.approx(0.003)


def test_few_unlikely_counts_are_not_worth_a_line_and_many_are() -> None:
    def said(unlikely: int, total: int, known: int | None = 4) -> str:
        counts = np.ones(total, np.float32)
        counts[:unlikely] = 0.01
        sums = np.zeros(total, np.int64)
        found = Predictions(sums, sums.astype(np.float32), counts, counts)
        return CountCheck().add(found[: total // 2]).add(found[total // 2 :]).warning(known)

    assert said(20, 20) == (
        "20 of 20 strips hardly hold 4 digits: try --digits-per-strip any, or look at them"
    )
    assert said(1, 1, 1).startswith("1 of 1 strip hardly holds 1 digit:")
    assert said(10, 10_000) == said(0, 1) == said(0, 0) == ""
    assert "as many digits as is said of them" in said(20, 20, None)
    assert said(11, 10_000).startswith("11 of 10,000 strips hardly hold")


def test_what_a_regressor_does_not_say_is_left_out() -> None:
    plain = Predictions(sum=np.array([8]), value=np.array([7.93], np.float32))
    assert list(plain.to_dict()) == ["sum", "value"]
    assert str(plain[0]) == "8 (value 7.93)"
    assert str(plain).splitlines()[0].split() == ["sum", "value"]
    assert repr(plain) == "Predictions(of 1 strip: sum, value)"


def test_to_dict_and_pandas_hold_the_same() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found, frame = four().to_dict(), four().to_pandas()
    assert list(found) == ["sum", "value", "confidence", "digits", "positions"]
    assert found["digits"] == [[3, 5], [7], [], [3, 4, 5]]
    assert isinstance(frame, pandas.DataFrame)
    assert {name: list(frame[name]) for name in frame} == found


def test_without_pandas_the_import_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        four().to_pandas()


def test_many_print_as_the_first_and_a_number() -> None:
    sums = np.arange(SHOWN + 1500)
    text = str(Predictions(sum=sums, value=sums.astype(np.float32)))
    assert len(text.splitlines()) == SHOWN + 2
    assert text.endswith("and 1,500 more")


def test_joining_pads_to_the_longest() -> None:
    joined = Predictions.concatenate([four()[1:2][:1], four()[3:]])
    assert joined.digits is not None
    assert joined.digits.tolist() == [[7, -1, -1], [3, 4, 5]]
    assert pad_and_join([np.ones((1, 1)), np.ones((1, 3))]).tolist() == [[1, -1, -1], [1, 1, 1]]


def test_readings_agree_on_the_sum_that_they_give_most_probability() -> None:
    def reading(total: list[int], sure: list[float], first: list[int]) -> Predictions:
        digits = np.array([[d, t - d] for d, t in zip(first, total, strict=True)], np.int8)
        return Predictions(
            sum=np.array(total),
            value=np.array(total, np.float32),
            confidence=np.array(sure, np.float32),
            count_probability=np.array([1.0, 0.5], np.float32),
            digits=digits,
            positions=np.array([[4, 32]] * 2, np.int32),
        )

    # of the first strip, one reading is nearly certain, and two others are rather sure of a sum
    readings = [
        reading([9, 5], [0.97, 0.9], [4, 2]),
        reading([12, 5], [0.5, 0.8], [4, 1]),
        reading([12, 7], [0.6, 0.3], [3, 3]),
    ]
    found = Predictions.agreed(readings)
    assert found.sum.tolist() == [12, 5]
    assert found.digits is not None
    assert found.digits.tolist() == [[3, 9], [2, 3]]
    assert found.confidence == pytest.approx([0.03, 0.7])
    assert found.count_probability == pytest.approx([1.0, 0.5])
    alone = Predictions.agreed(readings[:1])
    assert alone.sum.tolist() == [9, 5]
    assert alone.confidence == pytest.approx([0.97, 0.9])
