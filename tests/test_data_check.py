"""`digitsum check`: what is said of strips and sums before anybody trains on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.datasets.digits import load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.evaluation.data_check import DataCheck, check_data
from digitsum.evaluation.scoring import predict_rows
from digitsum.inference import DigitCount, LoadedModel, load_model
from digitsum.models.base import Architecture

MADE = compose(load_digits("builtin"), 60, (3, 3), seed=5)
NOTHING = np.zeros_like(MADE.images[:2])


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


def checked(
    reader: LoadedModel, strips: np.ndarray, sums: np.ndarray, count: DigitCount = 3
) -> DataCheck:
    return check_data(StripSet.from_arrays(strips, sums), reader, count)


def seen(found: DataCheck, check: str) -> tuple[str, str]:
    (finding,) = [finding for finding in found.findings if finding.check == check]
    return finding.level, finding.seen


def test_strips_as_they_should_be(reader: LoadedModel) -> None:
    found = checked(reader, MADE.images, MADE.sums)
    assert not found.failures
    assert found.to_dict()["can_be_trained_on"]
    assert seen(found, "digits") == ("ok", "3 in each, it seems")
    level, text = seen(found, "reading")
    assert level == "ok"
    right = (reader.predict(MADE.images, 3).sum == MADE.sums).mean()
    assert f"reads {100 * right:.1f}% of 60 sums right" in text
    assert seen(found, "sums")[1].startswith(
        f"{MADE.sums.min()} to {MADE.sums.max()}, mean {MADE.sums.mean():.2f}"
    )


def test_a_wrong_number_of_digits_is_seen(reader: LoadedModel) -> None:
    found = checked(reader, MADE.images, MADE.sums, 4)
    level, text = seen(found, "digits")
    assert level == "careful"
    assert "3 in " in text
    assert seen(found, "reading")[0] == "careful"
    assert seen(checked(reader, MADE.images, MADE.sums, "any"), "digits")[0] == "ok"


@pytest.mark.parametrize("counted", [False, True])
def test_strips_go_through_the_net_once(
    reader: LoadedModel, counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    net = type(reader.module).forward

    def forward(self: Architecture, strips: Tensor) -> Tensor:
        passed.append(len(strips))
        return net(self, strips)

    data = StripSet.from_arrays(MADE.images, MADE.sums, counts=MADE.counts if counted else None)
    expected = predict_rows(reader, data, np.arange(60), digits_per_strip=None if counted else 3)
    monkeypatch.setattr(type(reader.module), "forward", forward)
    found = check_data(data, reader, None if counted else 3)
    assert sum(passed) == 60
    right = (expected.sum == MADE.sums).mean()
    assert f"reads {100 * right:.1f}% of 60 sums right" in seen(found, "reading")[1]


@pytest.mark.parametrize(
    ("strips", "sums", "check", "level", "words"),
    [
        (MADE.images, MADE.sums + 20, "reach", "fails", "sums are above 27, which 3 digits"),
        (MADE.images[:4], MADE.sums[:4], "number", "fails", "give 5 or more"),
        (MADE.images, np.full(60, 7), "sums", "careful", "all are 7"),
        (MADE.images // 4, MADE.sums, "contrast", "careful", "63 of 255"),
        (255 - MADE.images, MADE.sums, "appearance", "careful", "60 of 60 strips dark on light"),
        (np.repeat(MADE.images, 2, 0), np.repeat(MADE.sums, 2), "copies", "careful", "60 strips"),
        (np.repeat(MADE.images, 2, 0), np.arange(120) % 20, "copies", "careful", "another sum"),
    ],
)
def test_what_is_wrong_is_said(
    reader: LoadedModel, strips: np.ndarray, sums: np.ndarray, check: str, level: str, words: str
) -> None:
    found = checked(reader, strips, sums)
    assert seen(found, check)[0] == level
    assert words in seen(found, check)[1]
    assert bool(found.failures) == (level == "fails")


def test_the_command_fails_where_training_would() -> None:
    Path("set").mkdir()
    np.save("set/data0.npy", MADE.images)
    np.save("set/lab0.npy", MADE.sums)
    runner = CliRunner()
    result = runner.invoke(app, ["check", "set", "--digits-per-strip", "3", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["count"] == 60
    result = runner.invoke(app, ["check", "set", "--digits-per-strip", "1"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: training would fail: reach: ")
    assert "reach" in result.stdout
    result = runner.invoke(app, ["check", "set/data0.npy", "nowhere"])
    assert (result.exit_code, result.stdout) == (1, "")
    Path("set/lab0.npy").unlink()
    result = runner.invoke(app, ["check", "set/data0.npy", "--digits-per-strip", "any"])
    assert result.exit_code == 1
    assert "sums: there are none" in result.stderr
    assert "reader on 60 strips" in " ".join(result.stdout.split())
