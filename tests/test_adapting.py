"""A reader learns a hand from sums, keeps what it knew, and is never worse than it began."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ok, run
from scipy.ndimage import minimum_filter

import digitsum
from digitsum.checkpoint import load_checkpoint, save_checkpoint
from digitsum.checkpoint_paths import bundled_path
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.split import folds
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition, compose
from digitsum.errors import CheckpointError, DataError, OutputExistsError, UsageError
from digitsum.files import run_lock
from digitsum.sklearn import DigitSumRegressor
from digitsum.training.events import Progress, Start

OUT = Path("mine.pt")
TWO = ("--digits-per-strip", 2)


def outlines(first: int, last: int) -> Digits:
    """A hand that the bundled weights misread: digits without the inside of their strokes."""
    digits = load_digits("builtin")
    images = digits.images[first:last]
    return Digits(images - minimum_filter(images, (1, 3, 3)), digits.labels[first:last])


def outlined(strips: int, seed: int, first: int = 0, last: int = 300) -> StripSet:
    """Strips of that hand."""
    return compose(outlines(first, last), strips, seed=seed).as_strips("outlined")


@pytest.mark.slow
def test_a_hand_is_learnt_from_sums_and_others_are_kept(tmp_path: Path) -> None:
    others = outlined(300, 2, first=400, last=1797)  # digits that it does not learn from
    known = compose("builtin", 200, seed=3).as_strips("known")
    start = digitsum.load("reader")
    found = digitsum.adapt(outlined(150, 1), out=tmp_path / OUT, epochs=5)
    adapted = digitsum.load(tmp_path / OUT)
    before, after = (digitsum.evaluate(m, others).splits["data"] for m in (start, adapted))
    assert after.exact_accuracy > before.exact_accuracy + 4
    assert found.better
    assert digitsum.evaluate(adapted, known).splits["data"].exact_accuracy > 90


@pytest.mark.slow
def test_one_run_says_of_its_validation_strips_what_anyone_measures(tmp_path: Path) -> None:
    strips = outlined(600, 1)
    found = digitsum.adapt(strips, out=tmp_path / OUT, epochs=2)
    assert found.better
    reader, adapted = (  # in the precision that decides
        digitsum.load(model, precision="fp32") for model in ("reader", tmp_path / OUT)
    )
    pair = digitsum.compare([reader, adapted], strips)
    assert pair.split == "val"
    assert pair.count == 120
    assert pair.pair(1, 0).p_value == found.comparison.pair(1, 0).p_value
    assert [row.metrics for row in pair.models] == [row.metrics for row in found.comparison.models]
    assert adapted.checkpoint.metrics["val"] == found.comparison.models[1].metrics.to_dict()


def test_of_two_runs_of_one_name_one_says_why_not(
    made: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips = made.as_strips("made")
    with run_lock(OUT), pytest.raises(UsageError, match=r"another run is writing mine\.pt"):
        digitsum.adapt(strips, out=OUT, epochs=1)
    with pytest.raises(OutputExistsError, match=r"mine\.pt exists by now"):
        digitsum.adapt(strips, out=OUT, epochs=1, on_event=lambda event: OUT.write_text("other"))
    assert [path.name for path in Path().iterdir()] == ["mine.pt"]
    assert OUT.read_text() == "other"


@pytest.mark.slow
def test_a_hand_is_learnt_where_the_number_of_digits_is_not_known(tmp_path: Path) -> None:
    hands = outlines(0, 400), outlines(400, 1797)
    mine, others = (compose(hand, 120, (2, 4), seed=1) for hand in hands)
    digitsum.adapt(mine.as_strips("mine"), out=tmp_path / OUT, epochs=12, digits_per_strip="any")
    right = [
        (
            digitsum.load(model).predict(others.images, digits_per_strip="any").sum == others.sums
        ).mean()
        for model in ("reader", tmp_path / OUT)
    ]
    assert right[1] > right[0] + 0.05


@pytest.mark.parametrize("keys", [{"keep": 1.0}, {"lr": 1e-30, "weight_decay": 0.0}])
def test_where_nothing_is_gained_the_start_is_kept(tmp_path: Path, keys: dict[str, float]) -> None:
    found = digitsum.adapt(outlined(20, 1), out=tmp_path / OUT, epochs=1, **keys)
    kept, start = load_checkpoint(tmp_path / OUT), load_checkpoint(bundled_path("reader"))
    assert not found.better
    for name, weight in start.weights.items():
        assert torch.equal(kept.weights[name], weight), name


def test_batch_norm_keeps_its_statistics(tmp_path: Path) -> None:
    digitsum.adapt(outlined(20, 1), out=tmp_path / OUT, epochs=1, keep=0, lr=0.01)
    kept, start = load_checkpoint(tmp_path / OUT), load_checkpoint(bundled_path("reader"))
    moved = {name for name, w in start.weights.items() if not torch.equal(kept.weights[name], w)}
    assert not [name for name in moved if "running" in name]


def test_only_a_reader_is_adapted_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips = outlined(20, 1)
    (tmp_path / OUT).write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        digitsum.adapt(strips, out=tmp_path / OUT)
    with pytest.raises(UsageError, match="keep 2 is not allowed"):
        digitsum.adapt(strips, out=tmp_path / "x.pt", keep=2)
    made = compose("builtin", 20, seed=0).as_strips("made")
    digitsum.train(made, arch="cnn", epochs=1, out=tmp_path / "cnn.pt")
    with pytest.raises(UsageError, match="is of 'cnn', and only a reader is adapted"):
        digitsum.adapt(strips, tmp_path / "cnn.pt", out=tmp_path / "x.pt")
    launched = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="in one process"):
        digitsum.adapt(strips, out=tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()
    assert (tmp_path / OUT).read_bytes() == b"mine"


@pytest.mark.parametrize(("key", "value"), [("digits_per_strip", "x"), ("lr", -1.0), ("odd", 3)])
def test_a_start_whose_recipe_is_no_recipe_is_named(
    key: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "forged.pt"
    start = load_checkpoint(bundled_path("reader"))
    save_checkpoint(replace(start, recipe={**start.recipe, key: value}), path)
    with pytest.raises(CheckpointError, match=f"forged.pt: .*{key}"):
        digitsum.adapt("builtin", path, out=tmp_path / "out.pt")
    with pytest.raises(CheckpointError, match=f"forged.pt: .*{key}"):
        digitsum.adapt("builtin", str(path), out=tmp_path / "out.pt", lr=0.01)
    result = run("adapt", "builtin", "--model", path, "--out", tmp_path / "out.pt")
    assert (result.exit_code, "forged.pt: " in result.stderr) == (1, True)
    assert not (tmp_path / "out.pt").exists()


def test_strips_that_the_start_has_seen_stay_known(tmp_path: Path) -> None:
    strips = outlined(20, 1)
    first = digitsum.adapt(strips, out=tmp_path / "a.pt", epochs=1)
    digitsum.adapt(outlined(20, 5), first.path, out=tmp_path / "b.pt", epochs=1)
    seen = digitsum.evaluate(digitsum.load(tmp_path / "b.pt"), strips).overlap
    assert seen.trained_on == 20  # each by four runs, and the fifth was decided on it
    assert seen.selected_on == 20


def test_few_strips_are_learnt_from_in_five_runs_that_leave_out_a_fifth_each(
    tmp_path: Path,
) -> None:
    strips, events = outlined(30, 1), []
    found = digitsum.adapt(strips, out=tmp_path / OUT, epochs=2, on_event=events.append)
    assert found.comparison.count == 30
    assert found.comparison.rows.tolist() == list(range(30))
    # the start was read on all strips; so what the table says of it is what anyone measures
    reader = digitsum.load("reader", precision="fp32")
    before = digitsum.evaluate(reader, strips).splits["data"]
    said = found.comparison.models[0].metrics
    assert said.exact_accuracy == before.exact_accuracy
    assert said.mse == pytest.approx(before.mse, rel=1e-5)
    # a display sees one run of ten epochs that starts once
    moves = [event for event in events if isinstance(event, Progress)]
    assert sum(isinstance(event, Start) for event in events) == 1
    assert {event.epochs for event in moves} == {10}
    assert [event.epoch for event in moves] == sorted(event.epoch for event in moves)
    assert moves[-1].epoch == 10
    # all strips have trained, and none is left to validate on
    adapted = digitsum.load(tmp_path / OUT)
    assert list(digitsum.evaluate(adapted, strips).splits) == ["train"]
    with pytest.raises(DataError, match="no strip of these validated reader and "):
        digitsum.compare([digitsum.load("reader"), adapted], strips)
    assert ok("info", tmp_path / OUT).stdout


def test_strips_are_dealt_out_to_five_runs() -> None:
    dealt = folds(23, seed=3)
    assert sorted(len(each.val) for each in dealt) == [4, 4, 5, 5, 5]
    assert sorted(row for each in dealt for row in each.val) == list(range(23))
    for each in dealt:
        assert sorted([*each.train, *each.val]) == list(range(23))
    assert [each.val.tolist() for each in folds(23, seed=4)] != [e.val.tolist() for e in dealt]
    with pytest.raises(DataError, match="4 strips cannot be split"):
        folds(4, seed=0)


def test_the_command_says_what_it_gained(folder: Path) -> None:
    table = ok("adapt", folder, *TWO, "--epochs", 1, "--out", OUT).output
    assert [line.split()[0] for line in table.splitlines() if line[:5] in ("befor", "after")] == [
        "before",
        "after",
    ]
    assert "wrote mine.pt" in table
    found = ok("adapt", folder, *TWO, "--epochs", 1, "--out", "b.pt", "--keep", 1, "--json")
    document = json.loads(found.stdout)
    assert not document["better"]
    assert len(document["models"]) == 2
    assert document["val_loss"][0] == document["val_loss"][1]  # all of the start is kept
    assert "these are the weights of the start" in found.stderr
    assert "--overwrite" in run("adapt", folder, *TWO, "--out", OUT).stderr
    assert ok("info", OUT, "--json").stdout


def test_the_estimator_adapts_what_it_is_told_to_start_from() -> None:
    strips, start = outlined(60, 1), load_checkpoint(bundled_path("reader"))
    estimator = DigitSumRegressor(init="reader", epochs=2).fit(strips.images(), strips.sums)
    assert estimator.checkpoint_.recipe["epochs"] == 2
    assert estimator.checkpoint_.recipe["lr"] == 0.002  # of a short run
    moved = [
        float((estimator.checkpoint_.weights[name] - weight).abs().max())
        for name, weight in start.weights.items()
        if weight.is_floating_point()
    ]
    assert 0 < max(moved) < 0.2  # near where it began, which no run from nothing ends
    with pytest.raises(UsageError, match="arch 'cnn' takes no init: only a reader is adapted"):
        DigitSumRegressor("cnn", init="reader").fit(strips.images(), strips.sums)
