"""The scikit-learn estimator, through scikit-learn's own tools."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import Composition, compose
from digitsum.errors import DataError, RecipeError
from digitsum.sklearn import DigitSumRegressor

FAST: dict[str, Any] = {"epochs": 1, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def fitted() -> tuple[DigitSumRegressor, Composition]:
    made = compose(load_digits("builtin"), strips=80, per_strip=(1, 2), seed=3)
    return DigitSumRegressor("cnn", **FAST).fit(made.images, made.sums), made


def test_options_are_parameters_too() -> None:
    model = DigitSumRegressor("cnn", options={"dropout": 0.2, "loss": "l1"})
    assert model.get_params()["options__dropout"] == 0.2
    assert "options__dropout" not in model.get_params(deep=False)
    given = model.options
    assert model.set_params(options__dropout=0.3, lr=0.1) is model
    assert (model.options, model.lr) == ({"dropout": 0.3, "loss": "l1"}, 0.1)
    assert given == {"dropout": 0.2, "loss": "l1"}  # which others may hold
    assert clone(model).get_params() == model.get_params()
    assert DigitSumRegressor().set_params(options__guide=0.5).options == {"guide": 0.5}
    both = model.set_params(options__dropout=0.4, options={"loss": "mse"})
    assert both.options == {"loss": "mse", "dropout": 0.4}
    with pytest.raises(ValueError, match="Invalid parameter 'dropout'"):
        model.set_params(dropout=0.3)


def test_parameters_of_numpy_do_not_reach_a_checkpoint() -> None:
    made = compose("builtin", strips=20, per_strip=(1, 1), seed=3)
    model = DigitSumRegressor(
        np.str_("cnn"), epochs=np.int64(1), batch_size=np.array([8, 16])[0], lr=np.float32(0.001),
        seed=np.uint32(3), options={"dropout": np.float64(0.1)}, progress=np.bool_(False),
        device=np.str_("cpu"), precision=np.str_("fp32"),
    )  # fmt: skip
    model.fit(made.images, made.sums)
    kept = model.checkpoint_.recipe.values()
    assert {type(value) for value in kept} <= {str, int, float, bool, type(None)}
    assert len(model.predict(made.images)) == 20


@pytest.mark.slow
def test_a_grid_reaches_into_the_options() -> None:
    made = compose("builtin", strips=30, per_strip=(1, 1), seed=3)
    grid = {"options__dropout": np.array([0.1, 0.3]), "epochs": np.array([1])}
    search = GridSearchCV(DigitSumRegressor("cnn", **FAST), grid, cv=2, error_score="raise")
    search.fit(made.images, made.sums)
    assert search.best_params_["options__dropout"] in (0.1, 0.3)


def test_parameters_are_those_of_the_constructor() -> None:
    model = DigitSumRegressor("cnn", epochs=3, options={"dropout": 0.2})
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(lr=0.1).lr == 0.1
    with pytest.raises(NotFittedError):
        copy.predict(np.zeros((1, 40, 42), np.uint8))


@pytest.mark.slow
def test_it_reads_strips_of_every_form(fitted: tuple[DigitSumRegressor, Composition]) -> None:
    model, made = fitted
    read = model.predict(made.images)
    assert (read.dtype, read.shape) == (np.int64, (80,))
    assert np.array_equal(model.predict(made.images[..., None] / 255), read)
    assert model.width_ == 84
    assert model.score(made.images, read) == 1
    weights = np.arange(80)
    expected = np.average(read == made.sums, weights=weights)
    assert model.score(made.images, made.sums, weights) == pytest.approx(expected)


def test_a_pickle_reads_the_same(fitted: tuple[DigitSumRegressor, Composition]) -> None:
    model, made = fitted
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict(made.images), model.predict(made.images))
    assert not hasattr(clone(model), "checkpoint_")


@pytest.mark.slow
def test_equal_seeds_fit_equally(fitted: tuple[DigitSumRegressor, Composition]) -> None:
    model, made = fitted
    again = clone(model).fit(made.images, made.sums)
    assert np.array_equal(
        again.predictions(made.images).value, model.predictions(made.images).value
    )


@pytest.mark.slow
def test_validation_search_and_pipeline(fitted: tuple[DigitSumRegressor, Composition]) -> None:
    model, made = fitted
    images, sums = made.images[:60], made.sums[:60]
    scores = cross_val_score(clone(model), images, sums, cv=2)
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 1)).all()
    search = GridSearchCV(clone(model), {"lr": [1e-3, 1e-2]}, cv=2).fit(images, sums)
    assert search.best_params_["lr"] in (1e-3, 1e-2)
    assert search.predict(images).shape == (60,)
    upright = FunctionTransformer(lambda flat: flat.reshape(-1, 40, 84))
    pipeline = make_pipeline(upright, clone(model)).fit(images.reshape(60, -1), sums)
    assert pipeline.predict(images.reshape(60, -1)).shape == (60,)


@pytest.mark.slow
def test_a_reader_tells_digits() -> None:
    made = compose(load_digits("builtin"), strips=60, per_strip=(2, 2), seed=3)
    options = {"digits_per_strip": 2, "weights": "reader", "lr": 1e-6}
    model = DigitSumRegressor(options=options, **FAST).fit(made.images, made.sums)
    predictions = model.predictions(made.images)
    assert predictions.digits is not None
    assert predictions.digits.shape == (60, 2)
    assert model.score(made.images, made.sums) > 0.8


def test_what_is_wrong_is_said() -> None:
    strips, sums = np.zeros((9, 40, 42), np.uint8), np.zeros(9)
    with pytest.raises(DataError, match=r"X holds .*strips are 40 rows high"):
        DigitSumRegressor(**FAST).fit(np.zeros((9, 41, 42)), sums)
    with pytest.raises(DataError, match=r"y: label 0 is 0\.5"):
        DigitSumRegressor(**FAST).fit(strips, sums + 0.5)
    with pytest.raises(DataError, match="8 sums for 9 strips"):
        DigitSumRegressor(**FAST).fit(strips, sums[:8])
    with pytest.raises(RecipeError, match="unknown recipe key 'dropout' for reader"):
        DigitSumRegressor(options={"dropout": 0.1}, **FAST).fit(strips, sums)


@pytest.mark.slow
def test_fitting_is_shown_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    made = compose("builtin", strips=20, per_strip=(1, 1), seed=3)
    for progress, given, lines in (
        (True, None, 1),
        (None, None, 0),
        (True, False, 0),
        (None, True, 1),
    ):
        model = DigitSumRegressor("cnn", progress=progress, **FAST)
        model.fit(made.images, made.sums, progress=given)
        assert capsys.readouterr().err.count("epoch   1 ") == lines
