"""What the page is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.strips import StripSet
from digitsum.display import as_text
from digitsum.evaluation.comparison import ComparedModel, Comparison, side_by_side
from digitsum.evaluation.scoring import MisreadStrip, OnProgress, worst_errors
from digitsum.inference import DigitCount, LoadedModel
from digitsum.predictions import Predictions
from digitsum.report.explain import Explanation, explain
from digitsum.training.events import Passed, passed

ERRORS = 6  # strips shown whose sum a model gets wrong
# of an epoch, as curves and in words
DRAWN = {"epoch", "train_loss", "val_loss", "val_exact_accuracy", "seconds"}
EXPLAINED = 3  # strips shown with what a model looks at in them


@dataclass(frozen=True)
class Subject:
    """One model of the page, its predictions for the same strips as the others'."""

    row: ComparedModel  # its row in the table
    predictions: Predictions
    history: list[dict[str, Any]]  # one entry for each epoch
    best_epoch: int  # whose weights these are
    errors: list[MisreadStrip]  # farthest off first
    explanations: list[Explanation]
    passed: Passed | None  # where its run reached the technical report's ResNet-50

    @property
    def name(self) -> str:
        """The name of the model, as it was given, in text that can be drawn."""
        return as_text(self.row.model)


@dataclass(frozen=True)
class ReportContent:
    """All that the page says."""

    data: str  # as typed
    split: str  # val or data
    truth: NDArray[np.int64]  # (N,) sums
    subjects: list[Subject]
    comparison: Comparison


def build_content(
    models: Sequence[LoadedModel],
    data: StripSet,
    on_progress: OnProgress = lambda strips: None,
    digits_per_strip: DigitCount = None,
) -> ReportContent:
    """Compares models on the strips that `digitsum compare` takes, and explains each.

    Args:
        models: One or more.
        data: Strips and sums.
        on_progress: Told how many strips more are done, after each chunk of each model.
        digits_per_strip: See `evaluation.scoring.evaluate`; for the models that tell digits.

    Raises:
        DataError: The strips do not suit a model, or none is left that none trained on.
    """
    compared = side_by_side(
        models, data, on_progress=on_progress, digits_per_strip=digits_per_strip
    )
    rows = compared.rows
    strips = np.concatenate(list(data.chunks(rows[:EXPLAINED])))
    subjects = []
    for model, row, found in zip(models, compared.models, compared.predictions, strict=True):
        history = [record for record in model.checkpoint.history if record.keys() >= DRAWN]
        counts = _explained_counts(model, data, rows[:EXPLAINED], digits_per_strip)
        subjects.append(
            Subject(
                row=row,
                predictions=found,
                history=history,
                best_epoch=int(model.checkpoint.metrics["epoch"]),
                errors=worst_errors(found, data, rows, ERRORS),
                explanations=[explain(model, *pair) for pair in zip(strips, counts, strict=True)],
                passed=passed(model.checkpoint.data["name"], history),
            )
        )
    name = as_text(" ".join(data.name))
    return ReportContent(name, compared.split, data.sums[rows], subjects, compared)


def _explained_counts(
    model: LoadedModel, data: StripSet, rows: NDArray[np.int64], digits_per_strip: DigitCount
) -> list[DigitCount]:
    """The known number of digits in each of these strips, as the comparison took it."""
    if not model.module.uses_digit_count:
        return [None for _ in rows]
    if digits_per_strip is not None or data.counts is None:
        return [digits_per_strip for _ in rows]
    return [int(count) for count in data.counts[rows]]
