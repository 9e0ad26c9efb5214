"""What a training run reports while it goes, and what it gives back. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from digitsum.metrics import Metrics

WARM_UP = 3  # steps left out of speeds: the first ones allocate and choose kernels
ESTIMATE_AFTER = 3.0  # seconds of steady steps before the whole time is estimated
TELL_EVERY = 0.2  # seconds between reports, and between looks at the loss
VALIDATION_COST = 1 / 3  # of a strip in validation, where one in training is 1


@dataclass(frozen=True)
class Start:
    """What is about to be trained, told once."""

    arch: str
    parameters: int
    train_strips: int
    val_strips: int
    compute: str  # device and precision


@dataclass(frozen=True)
class Progress:
    """Where the run is, several times a second."""

    epoch: int  # from 1
    epochs: int
    step: int  # of this epoch, from 1
    steps: int
    loss: float  # mean of this epoch so far
    strips_per_second: float
    seconds_left: float  # of the whole run


@dataclass(frozen=True)
class Estimate:
    """How long the run will take from here, told once, some seconds after its start."""

    seconds: float
    epochs: int
    strips_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch, dropout and all
    val_loss: float
    val_exact_accuracy: float  # percent
    val_within_one_accuracy: float  # percent
    lr: float  # at the end of the epoch
    seconds: float  # training and validation
    strips_per_second: float  # in training
    best: bool  # lowest val_loss so far, of this attempt
    attempt: int = 1  # above 1 after a restart


@dataclass(frozen=True)
class Restart:
    """A run had learnt nothing in its first quarter and starts again with other weights."""

    attempt: int  # that starts now, from 2
    attempts: int  # at most
    epochs: int  # that are given up
    exact_accuracy: float  # percent of the validation strips, after them
    threshold: float  # twice what always answering the commonest sum would reach


@dataclass(frozen=True)
class Scoring:
    """All epochs are done; the best and the last weights are scored on this many strips each."""

    strips: int


Event = Start | Progress | Estimate | EpochRecord | Restart | Scoring
Report = Callable[[Event], None]


@dataclass(frozen=True)
class Scores:
    """Metrics of the weights of one epoch on both parts."""

    epoch: int
    train: Metrics
    val: Metrics


@dataclass(frozen=True)
class Result:
    """A finished run. `best.val` is of weights that were selected on these strips."""

    best: Scores
    last: Scores
    history: list[EpochRecord]
    path: Path
    last_path: Path


class Clock:
    """Times the steps of one epoch, leaving out the warm-up.

    Args:
        steps: In this epoch.
        val_strips: Validated after them.
    """

    def __init__(self, steps: int, val_strips: int) -> None:
        self.steps, self.val_strips = steps, val_strips
        self.begun = self.steady = self.told = time.perf_counter()
        self.step = self.strips = self.warm_strips = 0

    def tick(self, strips: int) -> bool:
        """Counts a step; True if it is time to look at the loss and tell."""
        now = time.perf_counter()
        self.step += 1
        if self.step <= WARM_UP and self.step < self.steps:
            self.steady, self.warm_strips = now, self.warm_strips + strips
            return False
        self.strips += strips
        if now - self.told < TELL_EVERY and self.step < self.steps:
            return False
        self.told = now
        return True

    @property
    def steady_seconds(self) -> float:
        """Since the end of the warm-up."""
        return time.perf_counter() - self.steady

    @property
    def strips_per_second(self) -> float:
        """Past the warm-up, or 0 within it."""
        return self.strips / max(self.steady_seconds, 1e-9)

    def epoch_seconds(self, train_strips: int) -> float:
        """Estimate for a whole epoch with its validation, from the speed so far."""
        strips = train_strips + self.val_strips * VALIDATION_COST
        return strips / max(self.strips_per_second, 1e-9)

    def scoring_seconds(self, strips: int) -> float:
        """Estimate for reading so many strips, from the speed so far."""
        return strips * VALIDATION_COST / max(self.strips_per_second, 1e-9)

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self.begun
