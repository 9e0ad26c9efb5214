"""The loop: it learns, it keeps the best, it goes on exactly where it stopped."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fit

import digitsum
from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.datasets.digits import load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import (
    CheckpointError,
    DataError,
    OutputExistsError,
    TrainingError,
    UsageError,
)
from digitsum.evaluation.overlap import TrainingOverlap
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import load_model
from digitsum.models.cnn import AttentionCNN
from digitsum.models.reader import Reader
from digitsum.recipe import Recipe, merge_sources
from digitsum.training import events as run_events
from digitsum.training import pace, resume
from digitsum.training.data import TrainingData, batches, check_sums
from digitsum.training.events import EpochRecord, Estimate, Passed, Progress, Scoring, Start, passed
from digitsum.training.resuming import StoppedRun

CNN = {"arch": "cnn", "epochs": 2, "device": "cpu"}
PATH = Path("cnn.pt")


def recipe(**keys: object) -> Recipe:
    return Recipe.from_dict({**CNN, **keys})


class Stop(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


def stop_after(epoch: int):
    """A reporter that stops the run once an epoch is told."""

    def report(event: object) -> None:
        if isinstance(event, EpochRecord) and event.epoch == epoch:
            raise Stop

    return report


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 2]), (2, 8, [2])],
)
def test_a_last_batch_of_one_joins_the_one_before(count: int, size: int, sizes: list[int]) -> None:
    parts = list(batches(torch.arange(count), size))
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts), torch.arange(count))


def test_a_training_part_of_one_more_than_a_batch_trains(strips: StripSet) -> None:
    result = fit(recipe(limit=33, epochs=1), strips, PATH)
    assert result.best.train.count == 33


@pytest.mark.slow
def test_it_learns_sums_within_seconds() -> None:
    made = compose(load_digits("builtin"), strips=700, per_strip=(1, 1), seed=5)
    strips = StripSet(["made"], [made.images], made.sums)
    result = fit(recipe(epochs=12, dropout=0.1), strips, PATH)
    guess = np.abs(made.sums - np.round(made.sums.mean())).mean()  # without looking: about 2.5
    assert result.best.val.mae < 0.6 * guess
    assert result.history[-1].train_loss < 0.5 * result.history[0].train_loss


@pytest.mark.slow
def test_equal_seeds_give_equal_weights_and_others_do_not(strips: StripSet) -> None:
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(recipe(seed=seed, epochs=1), strips, Path(f"{name}.pt"))
        runs[name] = load_checkpoint(Path(f"{name}.pt")).weights
    assert all(torch.equal(runs["a"][k], runs["b"][k]) for k in runs["a"])
    assert not all(torch.equal(runs["a"][k], runs["c"][k]) for k in runs["a"])


@pytest.mark.slow
def test_the_best_checkpoint_is_of_the_lowest_validation_loss(strips: StripSet) -> None:
    result = fit(recipe(epochs=4, lr=0.01), strips, PATH)
    losses = [record.val_loss for record in result.history]
    best, last = load_checkpoint(PATH), load_checkpoint(last_path(PATH))
    assert best.metrics["epoch"] == result.best.epoch == 1 + int(np.argmin(losses))
    assert last.metrics["epoch"] == result.last.epoch == 4
    assert [r.best for r in result.history] == [
        loss == min(losses[: i + 1]) for i, loss in enumerate(losses)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_what_a_checkpoint_reports_is_what_evaluation_measures(
    strips: StripSet, decay: float
) -> None:
    result = fit(recipe(ema_decay=decay), strips, PATH)
    measured = evaluate(load_model(PATH, "cpu"), strips).splits
    assert measured["val"].exact_accuracy == result.best.val.exact_accuracy
    assert measured["train"].mse == pytest.approx(result.best.train.mse, rel=1e-2)
    assert load_checkpoint(PATH).metrics["val"] == result.best.val.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"schedule": "one_cycle"},
        {"warp": 1.0},
        {"ema_decay": 0.99},
        {"optimizer": "muon"},
        {"arch": "reader", "digits_per_strip": 2},
        {"arch": "reader", "digits_per_strip": 2, "crop": 2, "size": "small"},
        {"arch": "resnet", "weights": "none", "limit": 4, "epochs": 2},
    ],
)
def test_resumed_equals_undisturbed_bit_for_bit(strips: StripSet, keys: dict[str, object]) -> None:
    keys = {"epochs": 4, "precision": "fp32", **keys}
    done = keys["epochs"] // 2
    whole = fit(recipe(**keys), strips, Path("whole.pt"))
    with pytest.raises(Stop):
        fit(recipe(**keys), strips, PATH, stop_after(done))
    stopped = StoppedRun.open(last_path(PATH), {}, None)
    assert (stopped.epochs_done, stopped.finished) == (done, False)
    torch.manual_seed(99)  # whatever happened in between
    resumed = resume(stopped, strips, on_event=lambda event: None)

    timeless = [
        [{**asdict(r), "seconds": 0, "strips_per_second": 0} for r in result.history]
        for result in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]
    for a, b in (("whole.pt", "cnn.pt"), ("whole.last.pt", "cnn.last.pt")):
        left, right = load_checkpoint(Path(a)), load_checkpoint(Path(b))
        assert all(torch.equal(left.weights[k], right.weights[k]) for k in left.weights)
        assert left.unaveraged.keys() == right.unaveraged.keys()
        assert all(torch.equal(left.unaveraged[k], right.unaveraged[k]) for k in left.unaveraged)
        assert left.metrics == right.metrics
    assert StoppedRun.open(last_path(PATH), {}, None).finished


def test_averaged_weights_are_what_a_checkpoint_holds(strips: StripSet) -> None:
    fit(recipe(ema_decay=0.9), strips, PATH)
    best, last = load_checkpoint(PATH), load_checkpoint(last_path(PATH))
    assert last.unaveraged.keys() == last.weights.keys()
    assert not torch.equal(last.unaveraged["head.0.weight"], last.weights["head.0.weight"])
    assert not best.unaveraged


@pytest.mark.slow
def test_a_run_goes_on_as_it_began_or_not_at_all(strips: StripSet) -> None:
    with pytest.raises(Stop):
        fit(recipe(epochs=3), strips, PATH, stop_after(1))
    last = last_path(PATH)
    same = merge_sources(flags={"arch": "cnn", "epochs": 3, "lr": 0.001, "precision": "auto"})
    assert StoppedRun.open(last, same, PATH).recipe.epochs == 3
    for given in ({"epochs": 4}, {"lr": 0.1}, {"seed": 7}, {"dropout": 0.1}, {"limit": 9}):
        with pytest.raises(UsageError, match=f"{next(iter(given))} .* differs from the run's"):
            StoppedRun.open(last, given, None)
    with pytest.raises(UsageError, match="a resumed run writes its own files"):
        StoppedRun.open(last, {}, Path("other.pt"))
    with pytest.raises(UsageError, match=r"resumes from its ….last.pt"):
        StoppedRun.open(PATH, {}, None)
    changed = StripSet(["made"], strips.files, strips.sums[::-1].copy())
    with pytest.raises(UsageError, match="not the strips that the run began with"):
        resume(StoppedRun.open(last, {}, None), changed, on_event=lambda event: None)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["optimizer", "schedule", "random", "best", "history"])
def test_a_state_that_does_not_fit_is_refused(strips: StripSet, key: str) -> None:
    with pytest.raises(Stop):
        fit(recipe(epochs=2), strips, PATH, stop_after(1))
    stopped = StoppedRun.open(last_path(PATH), {}, None)
    broken = {"nonsense": 1} if key in ("random", "best") else [{"nonsense": 1}]
    setattr(stopped.checkpoint, key, broken)
    with pytest.raises(CheckpointError, match=r"the state in cnn\.last\.pt does not fit its run"):
        resume(stopped, strips, on_event=lambda event: None)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_best(strips: StripSet) -> None:
    with pytest.raises(Stop):
        fit(recipe(epochs=3), strips, PATH, stop_after(1))
    before = PATH.read_bytes()
    stopped = StoppedRun.open(last_path(PATH), {}, None)
    for state in stopped.checkpoint.optimizer[0]["state"].values():
        state["exp_avg_sq"].fill_(-1)  # of which Adam takes the root
    with pytest.raises(
        TrainingError, match=r"loss is .* in epoch 2: lower --lr .* epoch 1 is kept"
    ):
        resume(stopped, strips, on_event=lambda event: None)
    assert PATH.read_bytes() == before


def test_a_best_checkpoint_of_another_run_is_not_mixed_in(strips: StripSet) -> None:
    with pytest.raises(Stop):
        fit(recipe(epochs=2), strips, PATH, stop_after(1))
    fit(recipe(epochs=1, seed=5), strips, Path("other.pt"))
    Path("other.pt").rename(PATH)
    with pytest.raises(CheckpointError, match=r"cnn\.pt is not of the run in cnn\.last\.pt"):
        StoppedRun.open(last_path(PATH), {}, None)


def test_a_validation_loss_that_is_not_finite_says_what_to_do(strips: StripSet) -> None:
    with pytest.raises(TrainingError, match=r"the validation loss is .* in epoch 1: lower --lr"):
        fit(recipe(limit=32, lr=1e20), strips, PATH)
    assert not PATH.exists()


def test_a_run_tells_progress_once_an_estimate_and_every_epoch(
    strips: StripSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "ESTIMATE_AFTER", 0.0)
    events: list[object] = []
    fit(recipe(batch_size=8), strips, PATH, events.append)
    assert [e.epoch for e in events if isinstance(e, EpochRecord)] == [1, 2]
    (estimate,) = (e for e in events if isinstance(e, Estimate))
    assert (estimate.epochs, estimate.seconds > 0) == (2, True)
    ends = [e for e in events if isinstance(e, Progress) and e.step == e.steps]
    assert [(e.epoch, e.steps) for e in ends] == [(1, 6), (2, 6)]
    assert isinstance(events[0], Start)
    assert events[-1] == Scoring(60)


def test_a_run_on_mnist_tells_when_it_is_where_the_technical_report_ended(
    strips: StripSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_events, "RESNET_EXACT", -1.0)
    for name, told in ((["mnist"], 1), (["mnist", "builtin"], 0), (["mine"], 0)):
        events: list[object] = []
        fit(recipe(), replace(strips, name=name), PATH, events.append)
        assert [e.epoch for e in events if isinstance(e, Passed)] == [1] * told


def test_the_time_to_the_technical_report_counts_failed_attempts_too() -> None:
    history = [
        {"epoch": epoch, "seconds": 10.0, "val_exact_accuracy": exact}
        for epoch, exact in ((1, 7.0), (2, 8.0), (1, 90.0), (2, 94.91), (3, 94.92), (4, 97.0))
    ]
    assert passed(["mnist"], history) == Passed(3, 50.0)
    assert passed(["mnist"], history[:4]) is None
    assert passed(["mnist-test"], history) is None


@pytest.mark.slow
def test_a_resumed_run_is_estimated_by_its_own_pace(strips: StripSet) -> None:
    with pytest.raises(Stop):
        fit(recipe(epochs=3), strips, PATH, stop_after(1))
    stopped = StoppedRun.open(last_path(PATH), {}, None)
    stopped.checkpoint.history[0]["seconds"] = 1e9  # of a machine that was much slower
    events: list[object] = []
    resume(stopped, strips, on_event=events.append)
    left = [e.seconds_left for e in events if isinstance(e, Progress)]
    assert 0 < max(left) < 1e8


def test_strips_are_never_copied_while_training(strips: StripSet, monkeypatch) -> None:
    held: list[bool] = []
    shuffled = TrainingData.shuffled

    def spy(own: TrainingData):
        held.append(np.shares_memory(own.pixels.numpy(), strips.files[0]))
        return shuffled(own)

    monkeypatch.setattr(TrainingData, "shuffled", spy)
    fit(recipe(epochs=1), strips, PATH)
    assert held
    assert all(held)


def test_sums_that_the_known_digits_cannot_reach_are_refused(strips: StripSet) -> None:
    with pytest.raises(DataError, match="but 1 digit can add up to 9 at most"):
        check_sums(strips, recipe(arch="reader", digits_per_strip=1))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["cnn", "reader"])
def test_in_bf16_the_loss_is_computed_in_float32(strips: StripSet, arch: str, monkeypatch) -> None:
    given: list[tuple[torch.Tensor, torch.Tensor]] = []
    module = Reader if arch == "reader" else AttentionCNN
    loss = module.loss

    def spy(own, outputs, sums, progress):
        result = loss(own, outputs, sums, progress)
        with torch.autocast("cpu", enabled=False):
            given.append((result.detach(), loss(own, outputs, sums, progress).detach()))
        return result

    monkeypatch.setattr(module, "loss", spy)
    keys = {"digits_per_strip": 2} if arch == "reader" else {}
    fit(recipe(arch=arch, epochs=1, precision="bf16", **keys), strips, PATH)
    assert len(given) >= 2  # of a step and of validation
    for found, expected in given:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_the_resolved_device_and_precision_are_kept(strips: StripSet) -> None:
    fit(recipe(epochs=1, precision="fp32", device="cpu"), strips, PATH)
    kept = load_checkpoint(PATH).recipe
    assert (kept["device"], kept["precision"]) == ("cpu", "fp32")
    assert all(kept[key] != "auto" for key in kept)


@pytest.mark.slow
def test_strips_known_from_training_are_told(strips: StripSet) -> None:
    fit(recipe(epochs=1), strips, PATH)
    model = load_model(PATH, "cpu")
    own = evaluate(model, strips)
    assert (set(own.splits), own.overlap) == ({"train", "val"}, TrainingOverlap(48, 12))
    some = StripSet(["some"], [strips.images()[:30]], strips.sums[:30])
    split = load_checkpoint(PATH).split
    known = TrainingOverlap(*(int((split[part] < 30).sum()) for part in ("train", "val")))
    other = evaluate(model, some)
    assert (set(other.splits), other.overlap) == ({"data"}, known)
    last = evaluate(load_model(last_path(PATH), "cpu"), some)
    assert last.overlap == TrainingOverlap(known.trained_on, 0)  # nothing chose the last weights


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False, None])
def test_a_run_is_shown_if_asked(
    strips: StripSet, asked: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[object] = []
    result = digitsum.train(
        strips, arch="cnn", epochs=1, device="cpu", progress=asked, on_event=events.append
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("epoch   1 ") == (1 if asked else 0)  # by default only in a notebook
    assert any(isinstance(event, EpochRecord) for event in events)
    assert str(result).splitlines()[0].split()[:3] == ["checkpoint", "strips", "count"]
    assert "best, last (epoch 1)" in str(result)


def test_python_finds_data_by_name_and_overwrites_nothing_unasked(folder: Path) -> None:
    keys = {"arch": "cnn", "epochs": 1, "device": "cpu"}
    result = digitsum.train(str(folder), **keys)
    assert (result.path, result.best.val.count) == (Path("cnn.pt"), 12)
    with pytest.raises(OutputExistsError, match=r"cnn\.pt exists"):
        digitsum.train(str(folder), **keys)
    other = digitsum.Recipe(lr=0.5, **keys)
    digitsum.train(str(folder), other, overwrite=True, lr=0.25)  # keys come after the recipe's
    assert load_checkpoint(PATH).recipe["lr"] == 0.25
    with pytest.raises(UsageError, match="is of a finished run: nothing is left to do"):
        digitsum.resume("cnn.last.pt")


@pytest.mark.slow
def test_python_resumes_by_a_path(folder: Path) -> None:
    with pytest.raises(Stop):
        digitsum.train(str(folder), arch="cnn", epochs=3, device="cpu", on_event=stop_after(1))
    assert [r.epoch for r in digitsum.resume("cnn.last.pt").history] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["cnn", "reader"])
def test_a_checkpoint_of_format_1_predicts_and_is_not_resumed(strips: StripSet, arch: str) -> None:
    keys = {"digits_per_strip": 2} if arch == "reader" else {}
    fit(recipe(arch=arch, epochs=1, **keys), strips, PATH)
    expected = load_model(PATH, "cpu").predict(strips.images()).value
    for path in (PATH, last_path(PATH)):
        content = torch.load(path, weights_only=True)
        content["format"] = 1
        content["recipe"].pop("weights")
        if path != PATH:  # one optimizer and one schedule, as they were kept then
            content |= {key: content[key][0] for key in ("optimizer", "schedule")}
        torch.save(content, path)
    for path in (PATH, last_path(PATH)):
        assert np.array_equal(load_model(path, "cpu").predict(strips.images()).value, expected)
    with pytest.raises(CheckpointError, match="is of format 1, and this digitsum resumes from 2"):
        StoppedRun.open(last_path(PATH))
