"""Every public object prints as one short line that says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import digitsum
from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.digits import load_digits
from digitsum.datasets.split import split_rows
from digitsum.datasets.synthesis import Composition
from digitsum.file_predictor import predict_files
from digitsum.sklearn import DigitSumRegressor
from digitsum.training.resuming import StoppedRun

LONGEST = 330


@pytest.mark.slow
def test_each_is_one_short_line(made: Composition) -> None:
    strips = made.as_strips("made")
    model = digitsum.load("reader", "cpu")
    result = digitsum.train(strips, arch="reader", epochs=1, out="r.pt", device="cpu")
    regressor = DigitSumRegressor(epochs=1, options={"digits_per_strip": 2}, device="cpu")
    regressor.fit(made.images, made.sums)
    np.save("two.npy", made.images[:2])
    files = predict_files(model, "two.npy")
    evaluation = digitsum.evaluate(model, strips, 5)
    compared = digitsum.compare([model] * 5, strips)
    last = load_checkpoint(Path("r.last.pt"))
    told = {
        repr(one).partition("(")[0]: repr(one)
        for one in (
            model, last, result, result.best, result.history[0], regressor, files,
            next(iter(files)), evaluation, *evaluation.errors, evaluation.splits["data"], compared,
            compared.models[0], compared.pairs[0], strips, made, made.truth,
            model.predict(made.images), model.predict(made.images)[0], load_digits("builtin"),
            split_rows(60, 0), StoppedRun.open(Path("r.last.pt")), digitsum.Recipe("resnet"),
        )
    }  # fmt: skip
    assert not [name for name, text in told.items() if len(text) > LONGEST or "\n" in text]
    assert not [name for name, text in told.items() if " object at " in text]
    assert told["Checkpoint"] == "Checkpoint(reader: epoch 1, 517,883 parameters, resumable)"
    assert told["StoppedRun"] == "StoppedRun(r.pt: reader, 1 of 1 epoch done)"
    assert told["Composition"] == "Composition(60 strips, 84 pixels wide)"
    assert told["FilePredictor"].startswith("FilePredictor(2 strips of 1 file, by LoadedModel(")
