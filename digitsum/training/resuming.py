"""A run that stopped, checked before it is resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from digitsum.checkpoint import RESUMES_FROM, Checkpoint, load_checkpoint
from digitsum.display import counted
from digitsum.errors import CheckpointError, UsageError
from digitsum.files import best_path, is_last, last_path
from digitsum.models import architecture_of_checkpoint
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
            CheckpointError: It cannot be read, holds no state, or its best one is missing or of
                another run.
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
        if not best.exists():
            raise CheckpointError(f"{best}, the run's best so far, is missing beside {path}")
        if out is not None and out.resolve() != best.resolve():
            raise UsageError(
                f"--out {out}: a resumed run writes its own files, {best} and {last_path(best)}"
            )
        _check_same_run(checkpoint, load_checkpoint(best), path, best)
        named: Collection[str] = [str(given["arch"])] if given.get("arch") else ()
        architecture_of_checkpoint(checkpoint.arch, str(path), named)
        stored = Recipe.from_dict(checkpoint.recipe)
        return cls(checkpoint, best, _agreed(stored, given))

    @property
    def epochs_done(self) -> int:
        """Epochs that are finished."""
        return len(self.checkpoint.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and their final metrics stored, in both checkpoints."""
        return "train" in self.checkpoint.metrics


def _check_same_run(last: Checkpoint, best: Checkpoint, path: Path, best_path: Path) -> None:
    """Refuses a best checkpoint of another run, as one that was overwritten may leave behind.

    A history holds the seconds that its epochs took, so no two runs begin with the same one.
    """
    known = min(len(last.history), len(best.history))
    if not known or last.history[:known] != best.history[:known]:
        raise CheckpointError(
            f"{best_path} is not of the run in {path}: put the best one of that run back beside "
            "it, or start again"
        )


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
        trainer.history = [EpochRecord(**record) for record in checkpoint.history]
        trainer.attempt = trainer.history[-1].attempt
        trainer.state.load_state_dict(checkpoint.weights, state, trainer.history[-1].epoch)
        trainer.best = {key: checkpoint.best[key] for key in ("epoch", "val_loss")}
        trainer.device.set_random_state(checkpoint.random[world.rank])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the state in {trainer.checkpoints.last_path} does not fit its run ({error}): it is "
            "damaged; start again"
        ) from error
