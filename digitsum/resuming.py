"""A run that stopped, checked before it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from digitsum import checkpoint as checkpoints
from digitsum.checkpoint import Checkpoint
from digitsum.errors import CheckpointError, UsageError
from digitsum.outputs import last_path
from digitsum.recipe import Recipe, Scalar


@dataclass(frozen=True)
class StoppedRun:
    """What a `.last.pt` says of its run."""

    checkpoint: Checkpoint
    path: Path  # of the run's best checkpoint
    recipe: Recipe

    @classmethod
    def open(cls, path: Path, given: Mapping[str, Scalar], out: Path | None) -> StoppedRun:
        """Loads a `.last.pt` and compares what was asked for with what the run is.

        Args:
            path: The `.last.pt`.
            given: Recipe keys that were asked for; equal ones are fine. Only the device may
                differ: a run can move.
            out: The checkpoint that was asked for, if any.

        Raises:
            UsageError: The name is not a `.last.pt`'s, or something differs.
            CheckpointError: It cannot be read, holds no state, or its best one is missing or of
                another run.
        """
        if not path.name.endswith(".last.pt"):
            raise UsageError(f"--resume {path}: a run goes on from its ….last.pt")
        checkpoint = checkpoints.load(path)
        if not checkpoint.resumable:
            raise CheckpointError(f"{path} holds no state to go on from: it is no ….last.pt")
        best = path.with_name(path.name.removesuffix(".last.pt") + ".pt")
        if not best.exists():
            raise CheckpointError(f"{best}, the run's best so far, is missing beside {path}")
        if out is not None and out.resolve() != best.resolve():
            raise UsageError(
                f"--out {out}: a run goes on in its own files, {best} and {last_path(best)}"
            )
        _check_same_run(checkpoint, checkpoints.load(best), path, best)
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
                f"{key} {asked[key]} differs from the run's {run[key]}: a run goes on as it began; "
                "leave it out, or start another run with another --out"
            )
    return replace(stored, device=str(asked["device"]))
