"""What a training run reports while it runs, and what it gives back. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitsum.display import Column, Table, Tabular

if TYPE_CHECKING:
    from digitsum.evaluation.metrics import Metrics

RESNET_EXACT = 94.92  # percent of the validation strips of `mnist`: the technical report's best


@dataclass(frozen=True)
class Start:
    """What is about to be trained, reported once."""

    arch: str
    parameters: int
    train_strips: int
    val_strips: int
    device: str  # with the precision


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
    """How long the run will take from here, reported once, some seconds after its start."""

    seconds: float
    epochs: int
    strips_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of the history.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean training loss over the epoch, with dropout and distortion.
        val_loss: Validation loss after it.
        val_exact_accuracy: Exact-match accuracy on validation strips, in percent.
        val_within_one_accuracy: Share of validation strips at most 1 off, in percent.
        lr: Learning rate at the end of the epoch.
        seconds: Time of training and validation.
        strips_per_second: Speed in training.
        best: Whether val_loss is the lowest so far, in this attempt.
        attempt: Number of the attempt, above 1 after a restart.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_exact_accuracy: float
    val_within_one_accuracy: float
    lr: float
    seconds: float
    strips_per_second: float
    best: bool
    attempt: int = 1


@dataclass(frozen=True)
class Passed:
    """A run on `mnist` has reached what the technical report's pretrained ResNet-50 did.

    Attributes:
        epoch: Number of the epoch.
        seconds: Time of training and validation up to its end, failed attempts included.
    """

    epoch: int
    seconds: float


@dataclass(frozen=True)
class Restart:
    """A run had learnt nothing in its first quarter and starts again with other weights."""

    attempt: int  # that starts now, from 2
    attempts: int  # at most
    epochs: int  # that are discarded
    exact_accuracy: float  # percent of the validation strips, after them
    threshold: float  # twice what always answering the most common sum would reach


@dataclass(frozen=True)
class Scoring:
    """All epochs are done; the best and the last weights are scored on this many strips each."""

    strips: int


Event = Start | Progress | Estimate | EpochRecord | Passed | Restart | Scoring
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Scores:
    """Metrics of the weights of one epoch on both splits."""

    epoch: int
    train: Metrics
    val: Metrics


@dataclass(frozen=True)
class Result(Tabular):
    """A finished run.

    Attributes:
        best: Metrics of the checkpoint of lowest validation loss. Its validation strips were used
            for checkpoint selection.
        last: Metrics of the last checkpoint.
        history: One record for each epoch.
        path: The best checkpoint.
        last_path: The last checkpoint.
    """

    best: Scores
    last: Scores
    history: list[EpochRecord]
    path: Path
    last_path: Path

    def __repr__(self) -> str:
        best, last = (
            f"{name} epoch {scores.epoch} with {scores.val.exact_accuracy:.2f}%"
            for name, scores in (("best", self.best), ("last", self.last))
        )
        return f"Result({self.path}: {best}, {last} exact-match on validation strips)"

    def table(self) -> Table:
        """The metrics of the best and of the last weights; one set of rows if they are the same."""
        from digitsum.evaluation.metrics import metric_columns
        from digitsum.evaluation.scoring import selection_note, split_name

        same = self.best.epoch == self.last.epoch
        kept = {
            "best, last" if same else "best": self.best,
            **({} if same else {"last": self.last}),
        }
        weights, strips, rows, splits = [], [], [], []
        for name, scores in kept.items():
            for split, metrics in (("train", scores.train), ("val", scores.val)):
                weights.append(f"{name} (epoch {scores.epoch})")
                strips.append(split_name(split, split == "val" and name.startswith("best")))
                rows.append(metrics)
                splits.append(split)
        return Table(
            "",
            [
                Column("checkpoint", weights, numeric=False),
                Column("strips", strips, numeric=False),
                Column("count", [f"{metrics.count:,}" for metrics in rows], priority=7),
                *metric_columns(rows, splits),
            ],
            selection_note(strips),
        )


def passed(data: Collection[str], history: Sequence[Mapping[str, Any]]) -> Passed | None:
    """The first epoch that reached `RESNET_EXACT`, if the strips are those of `mnist`.

    Args:
        data: Names of the strips, as typed.
        history: The fields of one `EpochRecord` for each epoch.
    """
    seconds = 0.0
    for record in history if list(data) == ["mnist"] else ():
        seconds += record["seconds"]
        if record["val_exact_accuracy"] >= RESNET_EXACT:
            return Passed(record["epoch"], seconds)
    return None
