"""The training loop, in the open.

One uint8 tensor holds all strips; batches are slices of it by index tensors. The loop never
prints: all that happens goes to the one callable that it is given.
"""

from __future__ import annotations

import math
import platform
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from digitsum import __version__
from digitsum import checkpoint as checkpoints
from digitsum.checkpoint import Checkpoint
from digitsum.compute import Compute
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.training_set import TrainingSet, check_sums
from digitsum.distributed import World
from digitsum.errors import CheckpointError, TrainingError, UsageError
from digitsum.inference import BATCH
from digitsum.learner import Learner
from digitsum.metrics import Metrics, score
from digitsum.models import restore
from digitsum.outputs import last_path, sole_run
from digitsum.progress import (
    ESTIMATE_AFTER,
    Clock,
    EpochRecord,
    Estimate,
    Progress,
    Report,
    Restart,
    Result,
    Scores,
    Scoring,
    Start,
)
from digitsum.recipe import Recipe
from digitsum.resuming import StoppedRun

SHORT = 8  # epochs below which a run is not judged by its first quarter


def train(
    recipe: Recipe, data: StripSet, path: Path | str, report: Report = lambda event: None
) -> Result:
    """Trains a model from the start.

    Args:
        recipe: What to do.
        data: Strips and sums, both parts.
        path: Where the checkpoint of lowest validation loss goes; `last_path(path)` beside it
            is the one to go on from. Both are written over.
        report: Called with all that happens.

    Raises:
        DataError: The strips do not suit the recipe.
        TrainingError: The loss is not finite; checkpoints written before stay as they are.
        CheckpointError: A checkpoint cannot be written.
        UsageError: Another run is writing these checkpoints.
    """
    return _Run(recipe, data, Path(path), report).train()


def resume(stopped: StoppedRun, data: StripSet, report: Report) -> Result:
    """Goes on from the last finished epoch, as if the run had never stopped.

    Args:
        stopped: The run; its two checkpoints are written over.
        data: The strips that it began with.
        report: Called with all that happens.

    Raises:
        UsageError: These are not the strips of the run.
        TrainingError, CheckpointError: As `train`.
    """
    run = _Run(stopped.recipe, data, stopped.path, report, pretrained=False)
    run.go_on_from(stopped.checkpoint)
    return run.train()


class _Run:
    """Recipe, strips, the model in training, and what has happened so far."""

    def __init__(
        self, recipe: Recipe, data: StripSet, path: Path, report: Report, pretrained: bool = True
    ) -> None:
        self.world = World.of_environment()
        self.compute = Compute.resolve(self.world.device(recipe.device), recipe.precision)
        device = self.compute.device
        self.world.join(device)
        self.recipe = replace(recipe, device=str(device), precision=self.compute.precision)
        self.strips = TrainingSet(data, recipe, device, self.world)
        self.path = path
        self.report = report if self.world.leads else lambda event: None
        self.steps = self.strips.steps()
        torch.manual_seed(recipe.seed + self.world.rank)  # each draws its own dropout
        self._start(pretrained)
        check_sums(data, recipe)
        self.history: list[EpochRecord] = []
        self.before = 0  # epochs of an earlier process, whose pace may have been another
        self.attempt = self.epoch = 1  # under way
        self.estimated = False

    def _start(self, pretrained: bool) -> None:
        """A fresh model; nothing is best yet."""
        width = self.strips.data.width
        self.learner = Learner(self.recipe, width, self.steps, self.compute, self.world, pretrained)
        self.best: dict[str, Any] = {}  # epoch and val_loss

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Takes over all that a stopped run had come to."""
        if self.strips.data.fingerprint != checkpoint.data["fingerprint"]:
            raise UsageError(
                "these are not the strips that the run began with (their fingerprints differ): "
                "give the same --data, unchanged, or leave it out"
            )
        if len(checkpoint.random) != self.world.size:
            raise UsageError(
                f"the run was of {len(checkpoint.random)} processes and this is of "
                f"{self.world.size}: go on with as many as it began with"
            )
        try:
            self.strips.restore(checkpoint.split)
            self.history = [EpochRecord(**record) for record in checkpoint.history]
            self.before = len(self.history)
            self.attempt = self.history[-1].attempt
            self.learner.restore(checkpoint, self.history[-1].epoch)
            self.best = {key: checkpoint.best[key] for key in ("epoch", "val_loss")}
            self.compute.set_random_state(checkpoint.random[self.world.rank])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the state in {last_path(self.path)} does not fit its run ({error}): it is "
                "damaged; start again"
            ) from error

    def train(self) -> Result:
        """Trains from the next epoch to the last, writing both checkpoints as it goes."""
        with sole_run(self.path) if self.world.leads else nullcontext():
            return self._train()

    def _train(self) -> Result:
        strips = len(self.strips.train), len(self.strips.val)
        on = str(self.compute)
        if self.world.size > 1:
            on += f", in {self.world.size} processes"
        self.report(Start(self.recipe.arch, self.learner.parameters, *strips, on))
        while (epoch := self._next_epoch()) <= self.recipe.epochs:
            self.epoch = epoch
            clock = Clock(self.steps, len(self.strips.val))
            train_loss = self._train_epoch(epoch, clock)
            speed = clock.strips_per_second
            val_loss, val = self._evaluate(self.learner.judged, self.strips.val)
            record = EpochRecord(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=val_loss,
                val_exact_accuracy=val.exact_accuracy,
                val_within_one_accuracy=val.within_one_accuracy,
                lr=self.learner.lr,
                seconds=clock.seconds,
                strips_per_second=speed,
                best=not self.best or val_loss < self.best["val_loss"],
                attempt=self.attempt,
            )
            self._keep(record, val)
            self.report(record)
        return self._finish()

    def _next_epoch(self) -> int:
        """Number of the next epoch, from 1; a run that has learnt nothing begins again.

        Losses that must find out for themselves what to count can get stuck, depending on the
        first weights. It shows early: after a quarter of the epochs such a run reads no more
        strips right than twice what always answering the commonest sum would.
        """
        done = [record for record in self.history if record.attempt == self.attempt]
        due = len(done) == math.ceil(self.recipe.epochs / 4) and self.recipe.epochs >= SHORT
        if not due or self.attempt > self.recipe.restarts:
            return len(done) + 1
        threshold = 200 * self.strips.most_common_share()
        exact = max(record.val_exact_accuracy for record in done)
        if exact > threshold:
            return len(done) + 1
        self.attempt += 1
        self._start(pretrained=True)
        tries = self.recipe.restarts + 1
        self.report(Restart(self.attempt, tries, len(done), exact, threshold))
        return 1

    def _train_epoch(self, epoch: int, clock: Clock) -> float:
        """One pass over the training part; gives its mean loss."""
        self.learner.model.train()
        total, seen = torch.zeros((), device=self.compute.device), 0
        for batch in self.strips.shuffled():
            done = (epoch - 1 + clock.step / self.steps) / self.recipe.epochs
            own = self.world.share(batch)
            share = len(own) * self.world.size / len(batch)
            loss = self.learner.step(self.strips.pixels[own], self.strips.sums[own], done, share)
            total += loss * len(batch)
            seen += len(batch)
            if clock.tick(len(batch)):  # not every step: looking at the loss waits for a GPU
                mean = total.item() / seen
                self._check_finite(mean, epoch, "training")
                self._tell(epoch, clock, mean)
        means = self.world.gather(mean)
        return sum(means) / len(means)

    @torch.inference_mode()
    def _evaluate(self, model: nn.Module, rows: np.ndarray) -> tuple[float, Metrics]:
        """Loss and metrics of a model on these rows, in evaluation mode; each process a part."""
        model.eval()
        own = self.world.share(torch.from_numpy(rows))
        total, at = 0.0, 0
        # one place for what is read: small arrays kept from each batch would lie in the way of
        # the large ones of the next, and memory would grow
        value, sums = np.empty(len(own), np.float32), np.empty(len(own), np.int64)
        for batch in torch.split(own.to(self.compute.device), BATCH):
            with self.compute.autocast():
                outputs = model(self.compute.strips(self.strips.pixels[batch]))
            loss = model.loss(outputs, self.strips.sums[batch], 1.0)  # type: ignore[operator]
            self._check_finite(float(loss), self.epoch, "validation")
            total += float(loss) * len(batch)
            readings = model.read(outputs, self.recipe.digits_per_strip)  # type: ignore[operator]
            value[at : at + len(batch)], sums[at : at + len(batch)] = readings.value, readings.sum
            at += len(batch)
        totals, *parts = zip(*self.world.gather((total, own.numpy(), value, sums)), strict=True)
        rows, value, sums = (np.concatenate(part) for part in parts)
        return sum(totals) / len(rows), score(value, sums, self.strips.data.sums[rows])

    def _tell(self, epoch: int, clock: Clock, loss: float) -> None:
        """Reports progress, and the estimate when its time has come."""
        epochs, speed = self.recipe.epochs, clock.strips_per_second
        ours = [record.seconds for record in self.history[self.before :]]
        seconds = ours[-1] if ours else clock.epoch_seconds(len(self.strips.train))
        left = (epochs - epoch + 1 - clock.step / self.steps) * seconds
        left += clock.scoring_seconds(2 * (len(self.strips.train) + len(self.strips.val)))
        told = sum(ours) + clock.steady_seconds
        if not self.estimated and told >= ESTIMATE_AFTER:
            self.estimated = True
            self.report(Estimate(left, epochs - epoch + 1, speed))
        self.report(Progress(epoch, epochs, clock.step, self.steps, loss, speed, left))

    def _check_finite(self, loss: float, epoch: int, part: str) -> None:
        if not math.isfinite(loss):
            kept = f"epoch {self.best['epoch']} is kept in {self.path}" if self.best else ""
            raise TrainingError(
                f"the {part} loss is {loss} in epoch {epoch}: lower --lr (now "
                f"{self.recipe.lr:g}) or train with --precision fp32; {kept or 'nothing is kept'}"
            )

    def _keep(self, record: EpochRecord, val: Metrics) -> None:
        """Writes the epoch into the history and its weights into the checkpoints."""
        self.history.append(record)
        checkpoint = self._checkpoint({"epoch": record.epoch, "val": val.to_dict()})
        if record.best:
            self.best = {"epoch": record.epoch, "val_loss": record.val_loss}
            self._save(checkpoint, self.path)
        self.learner.store(checkpoint)
        checkpoint.random = dict(enumerate(self.world.gather(self.compute.random_state())))
        checkpoint.best = self.best
        self._save(checkpoint, last_path(self.path))

    def _save(self, checkpoint: Checkpoint, path: Path) -> None:
        if self.world.leads:
            checkpoints.save(checkpoint, path)

    def _finish(self) -> Result:
        """Scores the best and the last weights on both parts and stores what came out."""
        self.report(Scoring(len(self.strips.train) + len(self.strips.val)))
        scores: dict[int, Scores] = {}
        for path in (self.path, last_path(self.path)):
            checkpoint = self.world.from_leader(partial(checkpoints.load, path))
            epoch = checkpoint.metrics["epoch"]
            if epoch not in scores:  # the last epoch may be the best
                width, options = self.strips.data.width, self.recipe.options
                module = restore(self.recipe.arch, width, options, checkpoint.weights)
                model = self.compute.place(module)
                rows = (self.strips.train, self.strips.val)
                scores[epoch] = Scores(epoch, *(self._evaluate(model, part)[1] for part in rows))
            checkpoint.history = [asdict(record) for record in self.history]
            checkpoint.metrics |= {
                "train": scores[epoch].train.to_dict(),
                "val": scores[epoch].val.to_dict(),
            }
            self._save(checkpoint, path)
        best, last = scores[self.best["epoch"]], scores[self.history[-1].epoch]
        return Result(best, last, self.history, self.path, last_path(self.path))

    def _checkpoint(self, metrics: dict[str, Any]) -> Checkpoint:
        """The run as it stands, without the state to go on from."""
        return Checkpoint(
            arch=self.recipe.arch,
            recipe=self.recipe.to_dict(),
            weights=self.learner.weights(),
            data=self.strips.source(),
            split=self.strips.split(),
            history=[asdict(record) for record in self.history],
            metrics=metrics,
            versions={
                "digitsum": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
        )
