"""The metrics of a model on strips, its own run's or others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.checkpoint import Checkpoint
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet, strip_hashes
from digitsum.errors import DataError, prefixed
from digitsum.inference import LoadedModel
from digitsum.metrics import Metrics, score, score_digits
from digitsum.readings import Readings, added


@dataclass(frozen=True)
class Known:
    """Of some strips: how many a model was trained on, and how many its weights were chosen on."""

    trained_on: int
    selected_on: int

    def __add__(self, other: Known) -> Known:
        return Known(self.trained_on + other.trained_on, self.selected_on + other.selected_on)


@dataclass(frozen=True)
class Misread:
    """A strip whose sum was read wrong."""

    row: int  # in the data
    strip: NDArray[np.uint8]  # (40, W)
    truth: int  # its sum
    digits: NDArray[np.int8] | None  # (K,) that stand there, where it is known
    reading: Readings  # of this one strip

    @property
    def truth_in_words(self) -> str:
        """`3 + 5 = 8`, or the sum alone."""
        return str(self.truth) if self.digits is None else f"{added(self.digits)} = {self.truth}"


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one model: `train` and `val` of its own run, or `data` for other strips."""

    model: str
    arch: str
    splits: dict[str, Metrics]
    known: Known  # strips of the run among those that it was scored on
    misread: list[Misread] = field(default_factory=list)  # of the last split, the worst first

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum eval`."""
        splits = {name: metrics.to_dict() for name, metrics in self.splits.items()}
        return {"model": self.model, "arch": self.arch, "splits": splits, **asdict(self.known)}


def evaluate(model: LoadedModel, data: StripSet, errors: int = 0) -> Evaluation:
    """Reads the strips a chunk at a time and scores them by part.

    Args:
        model: What reads.
        data: Strips and sums.
        errors: How many misread strips to give, at the most.

    Raises:
        DataError: The strips do not suit the model.
    """
    splits, misread = {}, []
    for name, rows in parts(model.checkpoint, data).items():
        readings = read_rows(model, data, rows)
        splits[name] = score_rows(readings, data, rows)
        misread = worst(readings, data, rows, errors)
    known = known_rows(model.checkpoint, data, np.arange(len(data)))
    return Evaluation(model.name, model.arch, splits, known, misread)


def worst(readings: Readings, data: StripSet, rows: NDArray[np.int64], count: int) -> list[Misread]:
    """The strips among these ascending rows whose sums were read wrong, farthest off first."""
    off = np.abs(readings.value - data.sums[rows])
    wrong = np.flatnonzero(readings.sum != data.sums[rows])
    chosen = np.sort(wrong[np.argsort(-off[wrong], kind="stable")][:count])
    if not len(chosen):
        return []
    truth = data.truth()
    strips = np.concatenate(list(data.chunks(rows[chosen])))
    found = [
        Misread(
            row=int(row := rows[i]),
            strip=strip,
            truth=int(data.sums[row]),
            digits=None if truth is None else truth[row],
            reading=readings.rows(slice(i, i + 1)),
        )
        for i, strip in zip(chosen, strips, strict=True)
    ]
    return sorted(found, key=lambda m: -abs(float(m.reading.value[0]) - m.truth))


def score_rows(readings: Readings, data: StripSet, rows: NDArray[np.int64]) -> Metrics:
    """Scores readings of these rows: sums, and single digits where both sides tell them."""
    metrics = score(readings.value, readings.sum, data.sums[rows])
    if readings.digits is None or (truth := data.truth()) is None:
        return metrics
    return score_digits(metrics, readings.digits, truth[rows])


def read_rows(model: LoadedModel, data: StripSet, rows: NDArray[np.int64]) -> Readings:
    """Readings of the strips of these ascending rows."""
    count = model.recipe.digits_per_strip
    with prefixed(model.name):
        return Readings.concatenate([model.read(chunk, count) for chunk in data.chunks(rows)])


def is_own(checkpoint: Checkpoint, data: StripSet) -> bool:
    """Whether these are the strips that the checkpoint's run used, wherever they lie."""
    return bool(data.fingerprint == checkpoint.data["fingerprint"])


def parts(checkpoint: Checkpoint, data: StripSet) -> dict[str, NDArray[np.int64]]:
    """Ascending row numbers: `train` and `val` of the run's own strips, `data` of others."""
    if is_own(checkpoint, data):
        return {part: np.sort(checkpoint.split[part].numpy()) for part in ("train", "val")}
    return {"data": np.arange(len(data))}


def count_known(checkpoint: Checkpoint, strips: NDArray[np.uint8]) -> Known:
    """How many of these strips are, pixel for pixel, strips of the checkpoint's run.

    Args:
        checkpoint: It may keep no hashes of its strips; then none is known.
        strips: (N, 40, W) uint8.
    """
    hashes, split = strip_hashes(strips), checkpoint.split
    trained_on, selected_on = (
        int(np.isin(hashes, split[name].numpy()).sum()) if name in split else 0
        for name in ("trained_on", "selected_on")
    )
    # the last weights of a run were not chosen by anything
    return Known(trained_on, 0 if checkpoint.resumable else selected_on)


def known_rows(checkpoint: Checkpoint, data: StripSet, rows: NDArray[np.int64]) -> Known:
    """The same for the strips of these ascending rows of a set."""
    if is_own(checkpoint, data):
        train, val = (np.isin(rows, part).sum() for part in parts(checkpoint, data).values())
        return Known(int(train), 0 if checkpoint.resumable else int(val))
    return sum((count_known(checkpoint, chunk) for chunk in data.chunks(rows)), Known(0, 0))


def run_data(
    checkpoint: Checkpoint, labels: Path | None = None, mnist_root: Path | None = None
) -> StripSet:
    """The strips that the checkpoint's run used, found by the name that was typed then.

    Raises:
        DataError: They are not there, or are not the same any more.
    """
    name = checkpoint.data["name"]
    try:
        data = open_data(name, labels, mnist_root)
    except DataError as error:
        raise DataError(f"the run's own strips cannot be opened; give --data: {error}") from error
    if not is_own(checkpoint, data):
        raise DataError(
            f"{' '.join(name)} is not what the run was trained on any more (its fingerprint "
            "differs): restore it, or name other strips with --data"
        )
    return data
