"""Everything public can be copied, and sent to another process."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fit

import digitsum
from digitsum import errors
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition
from digitsum.evaluation.scoring import Evaluation
from digitsum.models import int8
from digitsum.recipe import Recipe
from digitsum.sklearn import DigitSumRegressor
from digitsum.training.resuming import StoppedRun

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickled": lambda value: pickle.loads(pickle.dumps(value)),
    "copied": copy.deepcopy,
}


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


def same(one: object, other: object) -> bool:
    """Whether two objects are alike, arrays and what is in them included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == other


def test_strips_keep_their_sums_and_their_truth(
    folder: Path, made: Composition, copied: Callable[[Any], Any]
) -> None:
    names = [str(folder / f"data{number}.npy") for number in (1, 0)]
    for strips in (
        digitsum.open_data(folder),
        digitsum.open_data(names),
        made.as_strips("made"),
        StripSet.from_arrays(made.images, made.sums),
    ):
        found = copied(strips)
        assert found.fingerprint == strips.fingerprint
        assert same(found.truth(), strips.truth())
        assert repr(found) == repr(strips)


def test_results_are_what_they_were(strips: StripSet, copied: Callable[[Any], Any]) -> None:
    result = fit(Recipe("cnn", epochs=1, device="cpu"), strips, "cnn.pt")
    model = digitsum.load("cnn.pt", "cpu")
    predictions = model.predict(strips.images())
    for value in (
        result,
        model.recipe,
        predictions,
        predictions[0],
        digitsum.evaluate(model, strips, errors=3),
        digitsum.compare([model, model], strips),
        StoppedRun.open(Path("cnn.last.pt")).recipe,
    ):
        assert same(copied(value), value)
        assert str(copied(value)) == str(value)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_models_predict_what_they_did(
    folder: Path, made: Composition, precision: str, copied: Callable[[Any], Any]
) -> None:
    if precision == "int8" and not int8.is_supported():
        pytest.skip("this PyTorch has no 8-bit kernels")
    model = digitsum.load("reader", "cpu", precision)
    expected = model.predict(made.images, 2).value
    assert np.array_equal(copied(model).predict(made.images, 2).value, expected)
    predictor = digitsum.predict_files(model, folder / "data0.npy", 2)
    assert same(*([chunk.predictions for chunk in each] for each in (predictor, copied(predictor))))


def test_an_estimator_is_kept_fitted_or_not(
    made: Composition, copied: Callable[[Any], Any]
) -> None:
    model = DigitSumRegressor("cnn", epochs=1, device="cpu", options={"dropout": 0.1})
    assert copied(model).get_params() == model.get_params()
    model.fit(made.images, made.sums)
    assert np.array_equal(copied(model).predict(made.images), model.predict(made.images))


def test_errors_keep_what_they_carry(copied: Callable[[Any], Any]) -> None:
    kinds = [kind for kind in vars(errors).values()
             if inspect.isclass(kind) and issubclass(kind, Exception)]  # fmt: skip
    assert len(kinds) >= 9
    for kind in kinds:
        error = kind("what was wrong")
        error.seen = 5
        found = copied(error)
        assert (type(found), str(found), found.seen) == (kind, str(error), 5)


def scores(strips: StripSet, model: object) -> tuple[int, str, Evaluation]:
    """What a worker, which stands in another folder, says of strips."""
    os.chdir("/")
    return os.getpid(), strips.fingerprint, digitsum.evaluate(model, strips)


@pytest.mark.slow
def test_a_process_that_was_started_afresh_scores_opened_strips(folder: Path) -> None:
    strips = digitsum.open_data(folder.relative_to(Path.cwd()))
    model = digitsum.load("reader", "cpu", "fp32")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        worker, fingerprint, found = pool.apply(scores, (strips, model))
    assert worker != os.getpid()
    assert fingerprint == strips.fingerprint
    assert same(found.splits, digitsum.evaluate(model, strips).splits)
    assert next(iter(found.splits.values())).digit_accuracy is not None  # the truth came along
