"""How fast a run is, and how long it will take."""

from __future__ import annotations

import time

WARM_UP = 3  # steps left out of speeds: the first ones allocate and choose kernels
ESTIMATE_AFTER = 3.0  # seconds of steady steps before the whole time is estimated
REPORT_EVERY = 0.2  # seconds between reports, each of which waits for the loss
VALIDATION_COST = 1 / 3  # of a strip in validation, where one in training is 1


class EpochClock:
    """Times the steps of one epoch, leaving out the warm-up.

    Args:
        steps: Number of steps in this epoch.
        val_strips: Number of strips validated after them.
    """

    def __init__(self, steps: int, val_strips: int) -> None:
        self.steps, self.val_strips = steps, val_strips
        self.begun = self.steady = self.reported = time.perf_counter()
        self.step = self.strips = self.warm_strips = 0

    def tick(self, strips: int) -> bool:
        """Counts a step; True if it is time to report."""
        now = time.perf_counter()
        self.step += 1
        if self.step <= WARM_UP and self.step < self.steps:
            self.steady, self.warm_strips = now, self.warm_strips + strips
            return False
        self.strips += strips
        if now - self.reported < REPORT_EVERY and self.step < self.steps:
            return False
        self.reported = now
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
        """Estimate for validating so many strips, from the speed so far."""
        return strips * VALIDATION_COST / max(self.strips_per_second, 1e-9)

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self.begun


class RunClock:
    """How long the rest of a run will take, by the pace of this process.

    Args:
        epochs: Number of epochs of the run.
        train_strips: Number of strips trained on in an epoch.
        val_strips: Number of strips validated after each epoch.
    """

    def __init__(self, epochs: int, train_strips: int, val_strips: int) -> None:
        self.epochs, self.train_strips, self.val_strips = epochs, train_strips, val_strips
        self.epoch_seconds: list[float] = []  # of epochs that this process has finished
        self.estimated = False

    def seconds_left(self, epoch: int, clock: EpochClock) -> float:
        """Until the last epoch is done and both checkpoints are scored.

        Args:
            epoch: Number of the epoch under way, from 1.
            clock: The clock of that epoch.
        """
        done = self.epoch_seconds
        seconds = done[-1] if done else clock.epoch_seconds(self.train_strips)
        left = (self.epochs - epoch + 1 - clock.step / clock.steps) * seconds
        return left + clock.scoring_seconds(2 * (self.train_strips + self.val_strips))

    def is_time_to_estimate(self, clock: EpochClock) -> bool:
        """True once, when there is enough to go by."""
        due = sum(self.epoch_seconds) + clock.steady_seconds >= ESTIMATE_AFTER
        first = due and not self.estimated
        self.estimated |= due
        return first
