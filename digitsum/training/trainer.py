"""The training loop, in the open.

One uint8 tensor holds all strips; batches are slices of it by index tensors. The loop never
prints: all that happens goes to the one callable that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from digitsum._version import __version__
from digitsum.ambient import default_settings
from digitsum.cropping import cropped_batches, crops_on
from digitsum.datasets.split import Split
from digitsum.datasets.strips import CHUNK, StripSet
from digitsum.device import DeviceConfig
from digitsum.errors import TrainingError
from digitsum.evaluation.metrics import Metrics, score
from digitsum.models import architecture, create, resolve_options, restore
from digitsum.models.base import Architecture
from digitsum.recipe import Recipe
from digitsum.training.checkpoints import RunCheckpoints
from digitsum.training.data import TrainingData, check_sums, told_by_counts
from digitsum.training.distributed import World
from digitsum.training.events import (
    EpochRecord,
    Estimate,
    OnEvent,
    Passed,
    Progress,
    Restart,
    Result,
    Scores,
    Scoring,
    Start,
    passed,
)
from digitsum.training.pace import EpochClock, RunClock
from digitsum.training.state import TrainState

SHORT = 8  # epochs below which a run is never restarted


def place_of(recipe: Recipe) -> tuple[World, DeviceConfig]:
    """The processes that train together, and where this one computes.

    Raises:
        UsageError: There is no such device, or the launcher says nonsense.
    """
    world = World.from_environment()
    device = DeviceConfig.resolve(world.device(recipe.device), recipe.precision)
    world.join(device.device)
    return world, device


@contextmanager
def undisturbed(recipe: Recipe) -> Iterator[None]:
    """A run inside does not depend on torch's settings outside, nor on what was drawn there.

    Torch's generators of random numbers, which dropout and initialisation draw from, are there
    once for a process. At the end they are as they were found. Only one run at a time may be inside
    (`digitsum.train` sees to it), and other threads should draw nothing meanwhile.
    """
    _, device = place_of(recipe)
    with default_settings(), device.random_state_kept():
        yield


class Trainer:
    """One run: its recipe, its strips, the model in training, and what has happened so far.

    Args:
        recipe: What to do.
        data: Strips and sums, of both splits.
        path: Where the best checkpoint goes.
        on_event: Called with all that happens.
        pretrained: Whether a fresh model takes the weights that the recipe names; a run that is
            resumed has its own.
        split: Which strips train and which validate; by default as the recipe says.

    Raises:
        DataError, RecipeError, UsageError, WeightsError: See `digitsum.train`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: StripSet,
        path: Path,
        on_event: OnEvent,
        pretrained: bool = True,
        split: Split | None = None,
    ) -> None:
        self.world, self.device = place_of(recipe)
        device, precision = str(self.device.device), self.device.precision
        recipe = told_by_counts(resolve_options(recipe), data)
        self.recipe = replace(recipe, device=device, precision=precision)
        self._compare_processes(data, resumed=not pretrained)
        self.data = TrainingData(data, self.recipe, self.device.device, self.world, split)
        self.checkpoints = RunCheckpoints(path, self.recipe, self.data, self.world)
        self.on_event: OnEvent = on_event if self.world.is_main else lambda event: None
        self.clock = RunClock(recipe.epochs, len(self.data.train), len(self.data.val))
        self.history: list[EpochRecord] = []
        self.attempt = 1  # under way; a restart begins the next one
        self.device.seed(recipe.seed + self.world.rank)  # each draws its own dropout
        self.start_fresh(pretrained)
        check_sums(data, recipe)

    def _compare_processes(self, data: StripSet, resumed: bool) -> None:
        """Sees that all processes train the same on the same; each may have its own device.

        Raises:
            UsageError: They do not.
        """
        if self.world.size == 1:
            return
        facts: dict[str, Any] = {"digitsum": __version__, "torch": str(torch.__version__)}
        facts |= {key: value for key, value in self.recipe.to_dict().items() if key != "device"}
        strips = {"number of strips": len(data), "fingerprint of the strips": data.fingerprint}
        self.world.compare({**facts, "resumed": resumed, **strips})

    def start_fresh(self, pretrained: bool = True) -> None:
        """A new model before its first step; no epoch is the best yet."""
        cls, options = architecture(self.recipe.arch), self.recipe.options
        model = create(cls, self.data.data.width, options)
        if pretrained and self.recipe.weights != "none":
            model.load_pretrained(self.recipe.weights)
        self.steps = self.data.steps()
        self.state = TrainState(model, self.recipe, self.steps, self.device, self.world)
        self.best: dict[str, Any] = {}  # epoch and val_loss

    def fit(self, overwrite: bool = True) -> Result:
        """Trains from the next epoch to the last, writing both checkpoints after each.

        Args:
            overwrite: Whether checkpoints that are there when it begins are replaced.
        """
        with self.checkpoints.locked(overwrite), self.device.repeatable():
            self.run_epochs()
            return self.score_checkpoints()

    def run_epochs(self) -> None:
        """Trains from the next epoch to the last."""
        self.on_event(self._start_event())
        while (epoch := self.next_epoch()) <= self.recipe.epochs:
            clock = EpochClock(self.steps, len(self.data.val))
            train_loss = self.train_epoch(epoch, clock)
            speed = clock.strips_per_second
            val_loss, val = self.validate(self.state.eval_model, self.data.val, epoch)
            record = EpochRecord(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=val_loss,
                val_exact_accuracy=val.exact_accuracy,
                val_within_one_accuracy=val.within_one_accuracy,
                lr=self.state.lr,
                seconds=clock.seconds,
                strips_per_second=speed,
                best=not self.best or val_loss < self.best["val_loss"],
                attempt=self.attempt,
            )
            self.keep(record, val)
            self.on_event(record)
            if (found := self.passed()) and found.epoch == epoch:
                self.on_event(found)

    def train_epoch(self, epoch: int, clock: EpochClock) -> float:
        """One pass over the training split; gives its mean loss."""
        self.begin_epoch()
        total, seen = torch.zeros((), dtype=torch.float32, device=self.device.device), 0
        for batch in self.data.shuffled():
            progress = (epoch - 1 + clock.step / self.steps) / self.recipe.epochs
            own = self.world.shard(batch)
            share = len(own) * self.world.size / len(batch)
            counts = None if self.data.counts is None else self.data.counts[own]
            given = self.data.strips(own), self.data.sums[own], progress, share, counts
            loss = self.state.step(*given)
            total += loss * len(batch)
            seen += len(batch)
            if clock.tick(len(batch)):  # not every step: looking at the loss waits for a GPU
                self._report(epoch, clock, total.item() / seen)
        means = self.world.gather(total.item() / seen)
        return sum(means) / len(means)

    def begin_epoch(self) -> None:
        """Puts the model in training mode."""
        self.state.model.train()

    @torch.inference_mode()
    def validate(
        self, model: Architecture, rows: NDArray[np.int64], epoch: int
    ) -> tuple[float, Metrics]:
        """Loss and metrics of a model on these rows; each process takes a shard."""
        model.eval()
        own = self.world.shard(torch.from_numpy(rows))
        crop = model.crops and crops_on(self.device.device)
        # one place for all: small arrays kept from each batch would lie between the large blocks
        # of the next, and memory would grow
        losses = torch.zeros(len(own), device=self.device.device)
        value, sums = np.empty(len(own), np.float32), np.empty(len(own), np.int64)
        for first in range(0, len(own), CHUNK):
            chunk = own[first : first + CHUNK].to(self.device.device)
            pixels = self.data.pixels[chunk]
            for batch in cropped_batches(pixels, self.device.batch, crop, self.data.digits):
                with self.device.autocast():
                    outputs = model(self.device.normalize(batch.strips))
                taken, at = chunk[batch.rows], first + batch.rows
                counts = None if self.data.counts is None else self.data.counts[taken]
                losses[at] = model.loss_of(outputs, self.data.sums[taken], 1.0, counts)
                with np.errstate(invalid="ignore"):  # of outputs that are not finite, told below
                    if counts is None:
                        found = model.predict(outputs, self.recipe.digits_per_strip)
                    else:
                        found = model.predict_counted(outputs, counts.cpu().numpy())
                here = at.cpu().numpy()
                value[here], sums[here] = found.value, found.sum
        total = sum(losses.tolist())  # read once: reading one waits for a GPU
        self._check_finite(total / len(own), epoch, "validation")
        gathered = self.world.gather((total, own.numpy(), value, sums))
        totals, *arrays = zip(*gathered, strict=True)
        rows, value, sums = (np.concatenate(array) for array in arrays)
        return sum(totals) / len(rows), score(value, sums, self.data.data.sums[rows])

    def keep(self, record: EpochRecord, val: Metrics) -> None:
        """Writes the epoch into the history and its weights into the checkpoints."""
        self.history.append(record)
        self.clock.epoch_seconds.append(record.seconds)
        if record.best:
            self.best = {"epoch": record.epoch, "val_loss": record.val_loss}
        random = dict(enumerate(self.world.gather(self.device.random_state())))
        self.checkpoints.save_epoch(self.state, self.history, val, random, self.best)

    def passed(self) -> Passed | None:
        """Where the run reached the technical report's ResNet-50, if its data are the report's."""
        return passed(self.data.data.name, [asdict(record) for record in self.history])

    def next_epoch(self) -> int:
        """Number of the next epoch, from 1; a run that has learnt nothing is restarted.

        Losses that must find out for themselves what to count can get stuck, depending on the
        first weights. It shows early: after a quarter of the epochs such a run predicts no more
        strips right than twice what always answering the most common sum would.
        """
        done = [record for record in self.history if record.attempt == self.attempt]
        due = len(done) == math.ceil(self.recipe.epochs / 4) and self.recipe.epochs >= SHORT
        if not due or self.attempt > self.recipe.restarts:
            return len(done) + 1
        threshold = 200 * self.data.most_common_share()
        exact = max(record.val_exact_accuracy for record in done)
        if exact > threshold:
            return len(done) + 1
        self.attempt += 1
        self.start_fresh()
        attempts = self.recipe.restarts + 1
        self.on_event(Restart(self.attempt, attempts, len(done), exact, threshold))
        return 1

    def score_checkpoints(self) -> Result:
        """Scores the best and the last weights on both splits and stores the metrics."""
        rows = (self.data.train, self.data.val)
        self.on_event(Scoring(sum(map(len, rows))))
        scores: list[Scores] = []  # of the best, then of the last
        paths = self.checkpoints.path, self.checkpoints.last_path
        for path in paths:
            checkpoint = self.checkpoints.load(path)
            epoch = checkpoint.metrics["epoch"]
            if not scores or scores[0].epoch != epoch:  # the last epoch may be the best
                width, options = self.data.data.width, self.recipe.options
                cls = architecture(self.recipe.arch)
                model = restore(cls, width, options, checkpoint.weights)
                self.device.place(model)
                train, val = (self.validate(model, split, epoch)[1] for split in rows)
                scores.append(Scores(epoch, train, val))
            self.checkpoints.save_scores(checkpoint, path, scores[-1], self.history)
        return Result(scores[0], scores[-1], self.history, *paths)

    def _start_event(self) -> Start:
        where = str(self.device)
        if self.world.size > 1:
            where += f", in {self.world.size} processes"
        strips = len(self.data.train), len(self.data.val)
        return Start(self.recipe.arch, self.state.parameters, *strips, where)

    def _report(self, epoch: int, clock: EpochClock, loss: float) -> None:
        """Reports progress, and the estimate when its time has come."""
        self._check_finite(loss, epoch, "training")
        epochs, speed = self.recipe.epochs, clock.strips_per_second
        left = self.clock.seconds_left(epoch, clock)
        if self.clock.is_time_to_estimate(clock):
            self.on_event(Estimate(left, epochs - epoch + 1, speed))
        self.on_event(Progress(epoch, epochs, clock.step, self.steps, loss, speed, left))

    def _check_finite(self, loss: float, epoch: int, split: str) -> None:
        if not math.isfinite(loss):
            path = self.checkpoints.path
            kept = f"epoch {self.best['epoch']} is kept in {path}" if self.best else ""
            raise TrainingError(
                f"the {split} loss is {loss} in epoch {epoch}: lower --lr (now "
                f"{self.recipe.lr:g}) or train with --precision fp32; {kept or 'nothing is kept'}"
            )
