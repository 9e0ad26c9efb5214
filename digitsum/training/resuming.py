"""A run that stopped, checked before it is resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from digitsum.checkpoint import RESUMES_FROM, Checkpoint, load_checkpoint
from digitsum.checkpoint_paths import best_path, is_last, last_path
from digitsum.display import counted
from digitsum.errors import CheckpointError, DigitsumError, UsageError
from digitsum.models import architecture_of_checkpoint, laid_out, resolve_options
from digitsum.recipe import Recipe, Scalar
from digitsum.training.events import EpochRecord
from digitsum.training.trainer import Trainer


@dataclass(frozen=True)
class StoppedRun:
    """What a `.last.pt` says of its run."""

    checkpoint: Checkpoint
    path: Path  # of the run's best checkpoint
    recipe: Recipe

    def __repr__(self) -> str:
        done = f"{self.epochs_done} of {counted(self.recipe.epochs, 'epoch')} done"
        return f"StoppedRun({self.path}: {self.recipe.arch}, {done})"

    @classmethod
    def open(
        cls, path: Path, given: Mapping[str, Scalar] | None = None, out: Path | None = None
    ) -> StoppedRun:
        """Loads a `.last.pt` and compares what was asked for with what the run is.

        Args:
            path: The `.last.pt`.
            given: Recipe keys that were asked for; equal ones are fine. Only the device may
                differ: a run can move. `arch` also allows the import of an outside architecture.
            out: The checkpoint that was asked for, if any.

        Raises:
            UsageError: The name is not that of a `.last.pt`, or something differs.
            CheckpointError: It cannot be read, holds no state or one that does not fit, or its
                best one is missing or of another run.
        """
        given = given or {}
        if not is_last(path):
            raise UsageError(f"--resume {path}: a run resumes from its ….last.pt")
        checkpoint = load_checkpoint(path)
        if not checkpoint.resumable:
            raise CheckpointError(f"{path} holds no state to resume from: it is no ….last.pt")
        if checkpoint.format < RESUMES_FROM:
            raise CheckpointError(
                f"{path} is of format {checkpoint.format}, and this digitsum resumes from "
                f"{RESUMES_FROM} on: finish the run with the digitsum that began it, or start again"
            )
        best = best_path(path)
        if out is not None and out.resolve() != best.resolve():
            raise UsageError(
                f"--out {out}: a resumed run writes its own files, {best} and {last_path(best)}"
            )
        named: Collection[str] = [str(given["arch"])] if given.get("arch") else ()
        kind = architecture_of_checkpoint(checkpoint.arch, str(path), named)
        try:  # before a model is built: no size that a recipe names is trusted
            stored = resolve_options(Recipe.from_dict(checkpoint.recipe))
            width, options = checkpoint.data["width"], stored.options
            laid_out(kind, width, options, checkpoint.weights)
            history = _history(checkpoint, stored)
        except (DigitsumError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        _check_best(load_checkpoint(best) if best.exists() else None, best, checkpoint, history)
        return cls(checkpoint, best, _agreed(stored, given))

    @property
    def epochs_done(self) -> int:
        """Epochs that are finished."""
        return len(self.checkpoint.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and their final metrics stored, in both checkpoints."""
        return "train" in self.checkpoint.metrics and self.path.exists()


def _history(checkpoint: Checkpoint, recipe: Recipe) -> list[EpochRecord]:
    """The epochs of a run, one after the other.

    Raises:
        TypeError, ValueError: They are none, or not those of the weights.
    """
    history = [EpochRecord(**record) for record in checkpoint.history]
    if not history:
        raise ValueError("it holds no epoch: start again")
    attempt, epoch = 1, 0
    for record in history:
        follows = (record.attempt, record.epoch) in ((attempt, epoch + 1), (attempt + 1, 1))
        first_is_best = record.epoch > 1 or record.best
        if not (follows and first_is_best and 1 <= record.epoch <= recipe.epochs):
            raise ValueError(f"epoch {record.epoch} cannot follow epoch {epoch} in its history")
        attempt, epoch = int(record.attempt), int(record.epoch)
    if checkpoint.metrics["epoch"] != history[-1].epoch:
        raise ValueError(f"its weights are not those of its last epoch, {history[-1].epoch}")
    return history


def _check_best(
    best: Checkpoint | None, path: Path, last: Checkpoint, history: Sequence[EpochRecord]
) -> None:
    """Refuses a best checkpoint that is not this run's, as one that was overwritten may leave.

    A history holds the seconds that its epochs took, so no two runs begin with the same one.

    Args:
        best: None if there is none.
        path: Where it should be.
        last: The checkpoint to resume from.
        history: Its epochs.
    """
    advice = f"put that of the run back beside {last_path(path)}, or start again"
    behind = _is_behind(best, history)
    if behind and not history[-1].best:  # else its weights are in the last one
        raise CheckpointError(f"{path}, the run's best so far, is missing: {advice}")
    if best is None:
        return
    known = min(len(last.history), len(best.history))
    same = (last.arch, last.recipe) == (best.arch, best.recipe)
    ahead = len(best.history) > len(history)
    right = behind or ahead or best.metrics["epoch"] == _best_record(history).epoch
    if not (known and same and right) or last.history[:known] != best.history[:known]:
        raise CheckpointError(f"{path} is not of the run in {last_path(path)}: {advice}")


def _is_behind(best: Checkpoint | None, history: Sequence[EpochRecord]) -> bool:
    """Whether the weights of the best epoch are in the last checkpoint alone.

    Such a run was killed before it wrote the best one.
    """
    return best is None or len(best.history) <= history.index(_best_record(history))


def _agreed(stored: Recipe, given: Mapping[str, Scalar]) -> Recipe:
    """The run's recipe, on the device that was asked for; `auto` is whatever the run has."""
    given = {key: v for key, v in given.items() if v != "auto" or key == "device"}
    run = stored.to_dict()
    arch = given.get("arch", stored.arch)
    if arch != stored.arch:
        raise UsageError(f"arch {arch} differs from the run's {stored.arch}: leave it out")
    asked = Recipe.from_dict({**run, **given}).to_dict()
    for key in given:
        if key != "device" and asked[key] != run[key]:
            raise UsageError(
                f"{key} {asked[key]} differs from the run's {run[key]}: a run is resumed as it "
                "began; leave it out, or start another run with another --out"
            )
    return replace(stored, device=str(asked["device"]))


def restore_run(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Takes over all that a stopped run had come to.

    Raises:
        UsageError: These are not the strips of the run, or not as many processes.
        CheckpointError: The state does not fit.
    """
    data, world = trainer.data, trainer.world
    if data.data.fingerprint != checkpoint.data["fingerprint"]:
        raise UsageError(
            "these are not the strips that the run began with (their fingerprints differ): "
            "give the same --data, unchanged, or leave it out"
        )
    if len(checkpoint.random) != world.size:
        raise UsageError(
            f"the run was of {counted(len(checkpoint.random), 'process', 'processes')} and this "
            f"is of {world.size}: "
            "resume with as many as it began with"
        )
    state = {name: getattr(checkpoint, name) for name in ("optimizer", "schedule", "unaveraged")}
    try:
        data.load_split(checkpoint.split)
        last = (history := _history(checkpoint, trainer.recipe))[-1]
        trainer.history = history
        trainer.attempt = last.attempt
        rows = torch.from_numpy(data.train[:2]).to(trainer.device.device)
        example = data.pixels[rows], data.sums[rows]
        trainer.state.load_state_dict(checkpoint.weights, state, last.epoch, example)
        trainer.best = _best(checkpoint, trainer.history)
        trainer.device.set_random_state(checkpoint.random[world.rank])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the state in {trainer.checkpoints.last_path} does not fit its run ({error}): it is "
            "damaged; start again"
        ) from error
    _complete(trainer, checkpoint)


def _best(checkpoint: Checkpoint, history: Sequence[EpochRecord]) -> dict[str, Any]:
    """Epoch and loss of the best epoch of this attempt.

    Raises:
        KeyError, ValueError: The checkpoint names another.
    """
    best = _best_record(history)
    found = {"epoch": best.epoch, "val_loss": best.val_loss}
    if best.attempt != history[-1].attempt or found != checkpoint.best:
        raise ValueError(f"its best epoch is {best.epoch}, and it names {checkpoint.best}")
    return found


def _best_record(history: Sequence[EpochRecord]) -> EpochRecord:
    """The last epoch that was the best one so far; the first of an attempt always is."""
    return next(record for record in reversed(history) if record.best)


def _complete(trainer: Trainer, last: Checkpoint) -> None:
    """Brings the best checkpoint to where the last one is, if the run was killed between the two.

    Runs once wrote the best one first; killed after it, it holds an epoch that the run does not
    have. The next epoch then takes its place.
    """
    path = trainer.checkpoints.path
    best = load_checkpoint(path) if path.exists() else None
    if best is not None and len(best.history) > len(trainer.history):
        trainer.best = {}
    elif _is_behind(best, trainer.history):
        trainer.checkpoints.write_best(last)
