"""What a run writes: the best checkpoint, the last one, and when."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from digitsum._version import __version__
from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, without_state
from digitsum.checkpoint_paths import last_path
from digitsum.evaluation.metrics import Metrics
from digitsum.files import check_checkpoint_paths, run_lock, uninterrupted
from digitsum.recipe import Recipe
from digitsum.training.data import TrainingData
from digitsum.training.distributed import World
from digitsum.training.events import EpochRecord, Scores
from digitsum.training.state import TrainState


class RunCheckpoints:
    """The two checkpoints of a run; only the main process writes them.

    Args:
        path: Where the best one goes; the last one goes beside it.
        recipe: The resolved recipe.
        data: The strips of the run.
        world: The processes of the run.
    """

    def __init__(self, path: Path, recipe: Recipe, data: TrainingData, world: World) -> None:
        self.path, self.last_path = path, last_path(path)
        self.recipe, self.data, self.world = recipe, data, world

    @contextmanager
    def locked(self, overwrite: bool = True) -> Iterator[None]:
        """Keeps other runs from writing them.

        Raises:
            UsageError: Another run is writing them.
            OutputExistsError: Another run has written them, and `overwrite` is False.
        """
        if not self.world.is_main:
            yield
            return
        with run_lock(self.path):
            check_checkpoint_paths(self.path, overwrite)
            yield

    def save_epoch(
        self,
        state: TrainState,
        history: list[EpochRecord],
        val: Metrics,
        random: dict[int, dict[str, torch.Tensor]],
        best: dict[str, Any],
    ) -> None:
        """Writes the last checkpoint, and after it the best one if this epoch is the best.

        An epoch counts once it is in the last one. If the process is killed between the two, the
        weights of the best one are in the last one: see `write_best`.

        Args:
            state: After the epoch.
            history: Up to the epoch.
            val: Metrics of the epoch on validation strips.
            random: State of the generators, by process.
            best: Number and validation loss of the best epoch.
        """
        record = history[-1]
        checkpoint = Checkpoint(
            arch=self.recipe.arch,
            recipe=self.recipe.to_dict(),
            weights=state.weights(),
            data=self.data.source(),
            split=self.data.split(),
            history=[asdict(each) for each in history],
            metrics={"epoch": record.epoch, "val": val.to_dict()},
            versions={
                "digitsum": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
        )
        last = replace(checkpoint, **state.state_dict(), random=random, best=best)
        with uninterrupted():
            self._save(last, self.last_path)
            if record.best:
                self._save(checkpoint, self.path)

    def write_best(self, last: Checkpoint) -> None:
        """Writes the best checkpoint from a last one whose epoch is the best."""
        with self.locked():
            self._save(without_state(last), self.path)

    def load(self, path: Path) -> Checkpoint:
        """One of the two, the same in all processes."""
        return self.world.broadcast_object(partial(load_checkpoint, path))

    def save_scores(
        self, checkpoint: Checkpoint, path: Path, scores: Scores, history: list[EpochRecord]
    ) -> None:
        """Writes a checkpoint of a finished run again, with its metrics and the whole history."""
        checkpoint.history = [asdict(record) for record in history]
        checkpoint.metrics |= {"train": scores.train.to_dict(), "val": scores.val.to_dict()}
        self._save(checkpoint, path)

    def _save(self, checkpoint: Checkpoint, path: Path) -> None:
        if self.world.is_main:
            save_checkpoint(checkpoint, path)
