"""What a caller has set changes nothing in digitsum, and digitsum changes nothing of it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fit
from torch import nn

import digitsum
from digitsum.ambient import default_settings
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition
from digitsum.errors import DataError
from digitsum.onnx import export
from digitsum.recipe import Recipe
from digitsum.report.explain import explain
from digitsum.torchvision_access import announced_on_stderr
from digitsum.training import resume
from digitsum.training.events import EpochRecord, Result

RECIPE = {"arch": "cnn", "epochs": 2, "device": "cpu", "precision": "fp32", "limit": 16}


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: _default_dtype(torch.float64),
    "float16": lambda: _default_dtype(torch.float16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "another device": lambda: torch.device("meta"),
    "errors of NumPy": lambda: np.errstate(all="raise"),
    "deterministic": _deterministic,
}


@pytest.fixture
def setting(request: pytest.FixtureRequest) -> AbstractContextManager[Any]:
    return SETTINGS[request.param]()


def losses(result: Result) -> list[tuple[float, float]]:
    return [(record.train_loss, record.val_loss) for record in result.history]


@pytest.mark.parametrize("setting", SETTINGS, indirect=True)
def test_a_model_predicts_the_same_whatever_is_set(
    setting: AbstractContextManager[Any], made: Composition, strips: StripSet
) -> None:
    expected = digitsum.load("reader", "cpu", "fp32").predict(made.images[:8], 2)
    with setting:
        model = digitsum.load("reader", "cpu", "fp32")
        found = model.predict(made.images[:8], 2)
        explanation = explain(model, made.images[0])
        digitsum.evaluate(model, strips)
    assert found.value.dtype == np.float32
    assert np.array_equal(found.value, expected.value)
    assert np.array_equal(found.confidence, expected.confidence)
    assert explanation.kind == "columns"
    assert all(p.dtype == torch.float32 for p in model.module.parameters())
    assert not any(p.is_inference() for p in model.module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"arch": "reader", "digits_per_strip": 2, "warp": 1.0}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("setting", SETTINGS, indirect=True)
def test_a_run_is_the_same_whatever_is_set(
    setting: AbstractContextManager[Any], strips: StripSet, precision: str, keys: dict[str, Any]
) -> None:
    recipe = Recipe(**{**RECIPE, "precision": precision, **keys})
    expected = losses(fit(recipe, strips, "a.pt"))
    with setting:
        found = fit(recipe, strips, "b.pt")
        model = digitsum.load("b.pt", "cpu", "fp32")
        digitsum.compare([model, model], strips)
        explain(model, strips.images()[0])
    assert losses(found) == expected


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["float64", "autocast", "inference_mode"], indirect=True)
def test_a_model_is_exported_whatever_is_set(
    setting: AbstractContextManager[Any], strips: StripSet
) -> None:
    fit(Recipe(**RECIPE), strips, "cnn.pt")
    filters, level = list(warnings.filters), logging.getLogger("torch.onnx").level
    with setting:
        model = digitsum.load("cnn.pt", "cpu", "fp32")
        export(model, Path("cnn.onnx"), None)
    from onnxruntime import InferenceSession

    session = InferenceSession("cnn.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["value"], {"strips": strips.images()})[0]
    expected = model.predict(strips.images()).value
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (warnings.filters, logging.getLogger("torch.onnx").level) == (filters, level)


def test_tensors_are_made_as_by_default_and_drawn_as_by_default() -> None:
    def made() -> list[torch.Tensor]:
        torch.manual_seed(0)
        return [
            nn.Linear(3, 3).weight.detach(),
            torch.tensor([1.0, 2]),
            torch.full((2,), 0.5),
            torch.arange(3.0),
            torch.arange(3),
            torch.randperm(5),
            torch.tensor(np.ones(2)),
            torch.as_tensor(torch.ones(2, dtype=torch.float64)),
            torch.zeros(2, dtype=torch.int8),
            nn.BatchNorm2d(2).running_var,
        ]

    expected = made()
    with _default_dtype(torch.float64), torch.device("meta"), default_settings():
        found = made()
        with torch.device("meta"):
            assert torch.zeros(1).is_meta  # who names a device has it
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_training_steps_within_an_autocast_see_their_own_weights(strips: StripSet) -> None:
    recipe = Recipe(**{**RECIPE, "precision": "bf16"})
    expected = losses(fit(recipe, strips, "a.pt"))
    with torch.autocast("cpu", torch.bfloat16):  # whose cache outlives a step
        assert losses(fit(recipe, strips, "b.pt")) == expected


def test_what_torch_draws_is_what_it_would_have_drawn(strips: StripSet) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(Recipe(**RECIPE), strips, "a.pt")
    with pytest.raises(DataError, match="but 1 digit can add up to 9"):
        fit(Recipe("reader", digits_per_strip=1, epochs=1), strips, "b.pt")  # after it was seeded
    model = digitsum.load("a.pt", "cpu")
    digitsum.evaluate(model, strips)
    assert torch.equal(torch.rand(3), expected)


def test_a_resumed_run_gives_back_what_it_found(strips: StripSet) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(event: object) -> None:
        if isinstance(event, EpochRecord):
            raise Stop

    whole = fit(Recipe(**RECIPE), strips, "whole.pt")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(Stop):
        fit(Recipe(**RECIPE), strips, "a.pt", stop)
    assert losses(resume("a.last.pt", strips)) == losses(whole)
    assert torch.equal(torch.rand(3), expected)


def test_runs_in_threads_take_turns(strips: StripSet) -> None:
    expected = losses(fit(Recipe(**RECIPE), strips, "alone.pt"))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fit, Recipe(**RECIPE), strips, f"{n}.pt") for n in range(2)]
    assert [losses(run.result()) for run in runs] == [expected, expected]


def test_of_two_runs_to_one_file_the_second_overwrites_nothing(strips: StripSet) -> None:
    ready = threading.Barrier(2)

    def attempt() -> str:
        ready.wait()
        try:
            digitsum.train(strips, Recipe(**RECIPE), out="one.pt")
        except digitsum.errors.OutputExistsError:
            return "refused"
        return "trained"

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(attempt) for _ in range(2)]
    assert sorted(one.result() for one in found) == ["refused", "trained"]


def test_a_run_within_a_run_leaves_it_as_it_was(strips: StripSet) -> None:
    expected = losses(fit(Recipe(**RECIPE), strips, "alone.pt"))

    def another(event: object) -> None:
        if isinstance(event, EpochRecord) and event.epoch == 1:
            fit(Recipe(**{**RECIPE, "epochs": 1}), strips, "inner.pt")

    assert losses(fit(Recipe(**RECIPE), strips, "outer.pt", another)) == expected


def test_warning_filters_stay_as_they_are_in_threads(project: Path) -> None:
    before = list(warnings.filters)

    def read(number: int) -> int:
        digitsum.load("a.pt", "cpu")
        return len(digitsum.open_data("strips"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(40)))) == 1
    assert warnings.filters == before


def test_no_handler_of_a_signal_is_left(strips: StripSet) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    fit(Recipe(**RECIPE), strips, "a.pt")
    assert [signal.getsignal(number) for number in numbers] == before


def test_what_there_is_once_for_a_process_is_given_back_in_threads() -> None:
    mpl = pytest.importorskip("matplotlib")
    from digitsum.report.figures import _figure

    before = sys.stdout, mpl.rcParams["text.color"]

    def borrow(number: int) -> None:
        with announced_on_stderr(), _figure(2, 2):
            time.sleep(number % 3 / 1000)  # so that they end in another order

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(borrow, range(40)))
    assert (sys.stdout, mpl.rcParams["text.color"]) == before
