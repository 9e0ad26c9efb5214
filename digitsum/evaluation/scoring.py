"""The metrics of a model on strips, its own run's or others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from digitsum.ambient import default_settings
from digitsum.datasets import Sources, as_strip_set
from digitsum.datasets.strips import StripSet
from digitsum.display import Column, Table, Tabular, addition
from digitsum.errors import DataWarning, prefixed
from digitsum.evaluation.metrics import Metrics, metric_columns, score, score_digits
from digitsum.evaluation.overlap import TrainingOverlap, overlap_of_rows, split_rows_of
from digitsum.inference import DigitCount, LoadedModel
from digitsum.predictions import CountCheck, Prediction, Predictions

OnProgress = Callable[[int], None]  # is told how many strips more are done

SPLITS = {"train": "training", "val": "validation", "data": "given"}  # in tables


@dataclass(frozen=True)
class MisreadStrip:
    """A strip whose sum was predicted wrong."""

    row: int  # in the data
    strip: NDArray[np.uint8] = field(repr=False)  # (40, W)
    truth: int  # its sum
    digits: NDArray[np.int8] | None  # (K,) true ones, where they are known
    prediction: Prediction

    @property
    def truth_in_words(self) -> str:
        """`3 + 5 = 8`, or the sum alone."""
        return str(self.truth) if self.digits is None else f"{addition(self.digits)} = {self.truth}"


@dataclass(frozen=True)
class Evaluation(Tabular):
    """Metrics of one model: `train` and `val` of its own run, or `data` for other strips."""

    model: str
    arch: str
    splits: dict[str, Metrics]
    overlap: TrainingOverlap  # of the run with the strips that it was scored on
    # of the last split, worst first
    errors: list[MisreadStrip] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum eval`."""
        splits = {name: metrics.to_dict() for name, metrics in self.splits.items()}
        overlap = asdict(self.overlap)
        return {
            "model": self.model, "arch": self.arch, "splits": splits, "training_overlap": overlap
        }  # fmt: skip

    def table(self) -> Table:
        """One row for each split."""
        rows = list(self.splits.values())
        names = [
            split_name(name, name == "val" and self.overlap.selected_on > 0) for name in self.splits
        ]
        return Table(
            f"{self.model} ({self.arch})",
            [
                Column("strips", names, numeric=False),
                Column("count", [f"{metrics.count:,}" for metrics in rows], priority=7),
                *metric_columns(rows, groups=list(self.splits)),
            ],
            selection_note(names),
        )


def split_name(split: str, selected_on: bool) -> str:
    """A split in words, with an asterisk where it was used for checkpoint selection."""
    return SPLITS[split] + ("*" if selected_on else "")


def selection_note(names: Sequence[str]) -> str:
    """What the asterisk means, if one of the names has one."""
    return "* used for checkpoint selection" if any(name.endswith("*") for name in names) else ""


@default_settings()
def evaluate(
    model: LoadedModel,
    data: StripSet | Sources,
    errors: int = 0,
    on_progress: OnProgress = lambda strips: None,
    digits_per_strip: DigitCount = None,
    fit: bool = False,
) -> Evaluation:
    """Predicts the strips a chunk at a time and scores them by split.

    Args:
        model: From `digitsum.load`.
        data: Strips and sums, or what `open_data` takes.
        errors: How many misread strips to give, at most.
        on_progress: Told how many strips more are done, after each chunk.
        digits_per_strip: How many digits each strip is known to hold, or `any`. By default as the
            counts of the strips say, or else as many as the model was trained on.
        fit: As `open_data`.

    Raises:
        DataError: The strips do not suit the model.
        UsageError: The digit count is not valid.
    """
    data = as_strip_set(data, fit)
    splits, misread = {}, []
    for name, rows in split_rows_of(model.checkpoint, data).items():
        if not len(rows):
            continue
        predictions = predict_rows(model, data, rows, on_progress, digits_per_strip)
        splits[name] = score_rows(predictions, data, rows)
        misread = worst_errors(predictions, data, rows, errors)
        if name == "data":
            warn_of_counts(model, data, predictions, digits_per_strip)
    overlap = overlap_of_rows(model.checkpoint, data, np.arange(len(data)))
    return Evaluation(model.name, model.arch, splits, overlap, misread)


def asked_counts(models: Sequence[LoadedModel], digits_per_strip: DigitCount) -> list[DigitCount]:
    """The digit count for each model, None for those that tell no digits.

    Raises:
        UsageError: It is not valid, or none of them tells digits.
    """
    able = [model for model in models if model.module.uses_digit_count] or models[:1]
    able[0].digit_count(digits_per_strip)
    return [digits_per_strip if model.module.uses_digit_count else None for model in models]


def predict_rows(
    model: LoadedModel,
    data: StripSet,
    rows: NDArray[np.int64],
    on_progress: OnProgress = lambda strips: None,
    digits_per_strip: DigitCount = None,
) -> Predictions:
    """Predictions for the strips of these ascending rows; see `evaluate` for the digit count."""
    known = model.digit_count(digits_per_strip)
    counts = data.counts[rows] if data.counts is not None and digits_per_strip is None else None
    found: list[Predictions] = []
    at = 0
    with prefixed(model.name):
        for chunk in data.chunks(rows):
            own = None if counts is None else counts[at : at + len(chunk)]
            found.append(model.predict_strips(chunk, known, own))
            at += len(chunk)
            on_progress(len(chunk))
    return Predictions.concatenate(found)


def warn_of_counts(
    model: LoadedModel, data: StripSet, predictions: Predictions, asked: DigitCount
) -> None:
    """Warns of strips, not those of the run, that hardly hold as many digits as is said of them."""
    differ = data.counts is not None and asked is None
    message = CountCheck().add(predictions).warning(None if differ else model.digit_count(asked))
    if message:
        warnings.warn(f"{model.name}: {message}", DataWarning, stacklevel=2)


def score_rows(predictions: Predictions, data: StripSet, rows: NDArray[np.int64]) -> Metrics:
    """Scores predictions for these rows: sums, and single digits where both sides know them."""
    metrics = score(predictions.value, predictions.sum, data.sums[rows])
    if predictions.digits is None or (truth := data.truth()) is None:
        return metrics
    return score_digits(metrics, predictions.digits, truth[rows])


def worst_errors(
    predictions: Predictions, data: StripSet, rows: NDArray[np.int64], count: int
) -> list[MisreadStrip]:
    """The strips among these ascending rows whose sums are wrong, the farthest off first."""
    off = np.abs(predictions.value - data.sums[rows])
    wrong = np.flatnonzero(predictions.sum != data.sums[rows])
    chosen = np.sort(wrong[np.argsort(-off[wrong], kind="stable")][:count])
    if not len(chosen):
        return []
    truth = data.truth()
    strips = np.concatenate(list(data.chunks(rows[chosen])))
    found = [
        MisreadStrip(
            row=int(row := rows[i]),
            strip=strip,
            truth=int(data.sums[row]),
            digits=None if truth is None else truth[row],
            prediction=predictions[int(i)],
        )
        for i, strip in zip(chosen, strips, strict=True)
    ]
    return sorted(found, key=lambda error: -abs(error.prediction.value - error.truth))
