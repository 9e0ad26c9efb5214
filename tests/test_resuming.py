"""A `.last.pt` that was forged, and runs that were killed between their two checkpoints."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fit

from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import CheckpointError
from digitsum.recipe import Recipe
from digitsum.training import resume
from digitsum.training.events import EpochRecord
from digitsum.training.resuming import StoppedRun

PATH = Path("model.pt")
RECIPES = {
    "adam": {"arch": "cnn"},
    "average": {"arch": "cnn", "ema_decay": 0.9},
    "muon": {"arch": "reader", "digits_per_strip": 1},
}


class Stop(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def strips() -> StripSet:
    return compose("builtin", 24, (1, 1), seed=3).as_strips("made")


@pytest.fixture(scope="module", params=RECIPES)
def stopped(
    request: pytest.FixtureRequest, strips: StripSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run of three epochs that stopped after the first."""
    folder = tmp_path_factory.mktemp(request.param)

    def report(event: object) -> None:
        if isinstance(event, EpochRecord):
            raise Stop

    keys = {"epochs": 3, "batch_size": 8, "device": "cpu", **RECIPES[request.param]}
    with pytest.raises(Stop):
        fit(Recipe.from_dict(keys), strips, folder / PATH, report)
    return folder


def forged(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a run here, with something changed in what it resumes from."""
    for name in (PATH, last_path(PATH)):
        shutil.copy(folder / name, name)
    content = torch.load(last_path(PATH), weights_only=True)
    change(content)
    torch.save(content, last_path(PATH))
    return last_path(PATH)


def tensors(value: Any) -> Iterator[tuple[Any, Any]]:
    """The holder and the key of each tensor, numbers of steps and the like aside."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from tensors(inner)
        elif isinstance(inner, torch.Tensor) and inner.ndim:
            yield value, key


def in_optimizers(
    change: Callable[[torch.Tensor], object],
) -> Callable[[dict[str, Any]], None]:
    """Replaces the first tensor that each optimizer keeps."""

    def do(content: dict[str, Any]) -> None:
        for state in content["optimizer"]:
            holder, key = next(tensors(state))
            holder[key] = change(holder[key])

    return do


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: torch.zeros(1), r"state.*shape \(1,\)"),
        (lambda t: t.flatten(), r"state.*expected torch\.float32 of shape"),
        (lambda t: t.double(), r"state.* is torch\.float64"),
        (lambda t: t * torch.nan, "state.* not finite"),
        (lambda t: 0.5, "state.* is <class 'float'>"),
        (lambda t: [t], "state.* is <class 'list'>"),
        (lambda t: None, "state.* is <class 'NoneType'>"),
    ],
    ids=["shape", "flat", "dtype", "nan", "number", "list", "none"],
)
def test_state_that_is_not_that_of_the_weights_is_refused(
    stopped: Path, strips: StripSet, change: Any, words: str
) -> None:
    path = forged(stopped, in_optimizers(change))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=rf"does not fit its run \(.*{words}"):
        resume(path, strips)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["optimizer"].pop(),
        lambda c: c["optimizer"].append(c["optimizer"][0]),
        lambda c: c["optimizer"][0]["state"].popitem(),
        lambda c: c["optimizer"][0]["state"].update({99: c["optimizer"][0]["state"].popitem()[1]}),
        lambda c: c["optimizer"][0]["param_groups"].append(c["optimizer"][0]["param_groups"][0]),
        lambda c: c["optimizer"][0]["param_groups"][0].update(lr="fast"),
        lambda c: c["optimizer"][0]["param_groups"][0].update(lr=float("nan")),
        lambda c: c["optimizer"][0]["param_groups"][0].update(weight_decay=7.0),
        lambda c: c["optimizer"][0]["param_groups"][0]["params"].pop(),
        lambda c: c["optimizer"][0].update(state=[]),
        lambda c: c["schedule"].pop(),
        lambda c: c["schedule"][0].update(last_epoch=10**9),
        lambda c: c["schedule"][0].update(_last_lr=[]),
        lambda c: c["history"][0].update(epoch=2),
        lambda c: c["history"][0].update(epoch=10**400),
        lambda c: c["optimizer"][0]["param_groups"][0].update(lr=10**400),
        lambda c: c["history"][0].update(best=False),
        lambda c: c["history"][0].pop("lr"),
        lambda c: c["history"].append(c["history"][0]),
        lambda c: c["history"].clear(),
        lambda c: c["metrics"].update(epoch=2),
        lambda c: c["best"].update(epoch=9),
        lambda c: c["best"].clear(),
        lambda c: c["split"].update(train=c["split"]["train"][:-1]),
        lambda c: c["split"].update(val=c["split"]["train"][: len(c["split"]["val"])]),
        lambda c: c["random"][0].update(cpu=torch.zeros(3, dtype=torch.uint8)),
        lambda c: c["random"][0].clear(),
        lambda c: c["unaveraged"].update(more=torch.zeros(1)),
        lambda c: c["weights"].popitem(),
        lambda c: c["recipe"].update(epochs="many"),
        lambda c: c["data"].update(width=-1),
    ],
)
def test_a_run_that_does_not_add_up_is_refused(
    stopped: Path, strips: StripSet, change: Any
) -> None:
    path = forged(stopped, change)
    with pytest.raises(CheckpointError):
        resume(path, strips)


def test_state_that_lies_otherwise_in_memory_is_as_good(stopped: Path, strips: StripSet) -> None:
    def strided(tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    weights = []
    for change in (lambda content: None, in_optimizers(strided)):
        resume(forged(stopped, change), strips)
        weights.append(load_checkpoint(last_path(PATH)).weights)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_no_size_in_a_recipe_is_trusted(stopped: Path) -> None:
    def huge(content: dict[str, Any]) -> None:
        wide = {"cnn": {"channels": [10**6] * 3}, "reader": {"channels": [10**6] * 3}}
        content["recipe"] |= wide[content["arch"]]
        content["data"]["width"] = 10**7

    with pytest.raises(CheckpointError):
        StoppedRun.open(forged(stopped, huge))


@pytest.fixture(scope="module")
def epochs(
    strips: StripSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder with both checkpoints after each epoch, and the best weights at the end.

    The learning rate makes some epochs worse than the one before.
    """
    folder = tmp_path_factory.mktemp("epochs")
    path = folder / PATH
    bests = []

    def keep(event: object) -> None:
        if isinstance(event, EpochRecord):
            bests.append(event.best)
            for name in (path, last_path(path)):
                shutil.copy(name, folder / f"{name.name}.{event.epoch}")

    keys = {"arch": "cnn", "epochs": 6, "batch_size": 8, "lr": 0.02, "device": "cpu"}
    fit(Recipe.from_dict(keys), strips, path, keep)
    assert True in bests[1:]
    assert False in bests
    return folder, load_checkpoint(path).weights


@pytest.mark.parametrize("epoch", range(1, 7))
@pytest.mark.parametrize("order", ["last first", "best first"])
def test_a_run_that_was_killed_between_its_checkpoints_ends_the_same(
    strips: StripSet, epochs: tuple[Path, dict[str, torch.Tensor]], epoch: int, order: str
) -> None:
    folder, expected = epochs
    last, best = (epoch, epoch - 1) if order == "last first" else (epoch - 1, epoch)
    if last:
        shutil.copy(folder / f"{last_path(PATH)}.{last}", last_path(PATH))
    if best:
        shutil.copy(folder / f"{PATH}.{best}", PATH)
    if not last:
        return  # nothing to resume from yet
    result = resume(last_path(PATH), strips)
    kept = load_checkpoint(PATH)
    assert kept.metrics["epoch"] == result.best.epoch
    assert all(torch.equal(kept.weights[name], expected[name]) for name in expected)
    assert np.isfinite(result.best.val.mae)


def test_a_best_checkpoint_that_is_lost_is_asked_for(
    strips: StripSet, epochs: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    folder, _ = epochs
    records = load_checkpoint(folder / PATH).history
    worse = next(record["epoch"] for record in records if not record["best"])
    shutil.copy(folder / f"{last_path(PATH)}.{worse}", last_path(PATH))
    with pytest.raises(CheckpointError, match=r"model\.pt, the run's best so far, is missing"):
        resume(last_path(PATH), strips)
    shutil.copy(last_path(PATH), PATH)  # of this run, but not its best
    with pytest.raises(CheckpointError, match=r"model\.pt is not of the run in model\.last\.pt"):
        resume(last_path(PATH), strips)


def test_a_finished_run_whose_best_was_its_last_gets_it_back(strips: StripSet) -> None:
    fit(Recipe.from_dict({"arch": "cnn", "epochs": 1, "device": "cpu"}), strips, PATH)
    kept = load_checkpoint(PATH)
    PATH.unlink()
    resume(last_path(PATH), strips)
    again = load_checkpoint(PATH)
    assert (again.metrics, again.history, again.resumable) == (kept.metrics, kept.history, False)
    assert all(torch.equal(again.weights[name], kept.weights[name]) for name in kept.weights)


def test_the_state_of_a_step_disturbs_nothing(stopped: Path, strips: StripSet) -> None:
    """Resuming looks at a step of a copy; the model itself takes none."""
    from digitsum.training.resuming import restore_run
    from digitsum.training.trainer import Trainer

    run = StoppedRun.open(forged(stopped, lambda content: None))
    trainer = Trainer(run.recipe, strips, run.path, lambda event: None, pretrained=False)
    restore_run(trainer, copy.deepcopy(run.checkpoint))
    weights = trainer.state.weights()
    assert all(torch.equal(weights[name], run.checkpoint.weights[name]) for name in weights)
    kept = [optimizer.state_dict()["state"] for optimizer in trainer.state.optimizers]
    assert [sorted(state) for state in kept] == [
        sorted(state["state"]) for state in run.checkpoint.optimizer
    ]
