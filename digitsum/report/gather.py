"""What a report is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.comparison import Comparison, Row, side_by_side
from digitsum.datasets.arrays import StripSet
from digitsum.evaluation import Misread, worst
from digitsum.inference import LoadedModel
from digitsum.readings import Readings
from digitsum.report.looks import Look, look

ERRORS = 6  # strips shown that a model read wrong
LOOKS = 3  # strips shown with what a model sees in them


@dataclass(frozen=True)
class Subject:
    """One model in the report, its readings of the same strips as the others'."""

    row: Row  # its line in the headline table
    readings: Readings
    history: list[dict[str, Any]]  # an entry an epoch
    best_epoch: int  # whose weights these are
    misread: list[Misread]  # farthest off first
    looks: list[Look]

    @property
    def name(self) -> str:
        """As it was given."""
        return self.row.model


@dataclass(frozen=True)
class Report:
    """All that the page says."""

    data: str  # as typed
    split: str  # val or data
    truth: NDArray[np.int64]  # (N,) sums
    subjects: list[Subject]
    comparison: Comparison


def gather(models: Sequence[LoadedModel], data: StripSet) -> Report:
    """Compares models on the strips that `digitsum compare` takes, and looks into each.

    Args:
        models: One or more.
        data: Strips and sums.

    Raises:
        DataError: The strips do not suit a model, or none is left that none trained on.
    """
    compared = side_by_side(models, data)
    rows = compared.rows
    strips = np.concatenate(list(data.chunks(rows[:LOOKS])))
    subjects = []
    for model, row, readings in zip(models, compared.models, compared.readings, strict=True):
        history = model.checkpoint.history
        count = model.recipe.digits_per_strip
        subjects.append(
            Subject(
                row=row,
                readings=readings,
                history=[record for record in history if "val_loss" in record],
                best_epoch=int(model.checkpoint.metrics["epoch"]),
                misread=worst(readings, data, rows, ERRORS),
                looks=[look(model, strip, count) for strip in strips],
            )
        )
    name = " ".join(data.name)
    return Report(name, compared.split, data.sums[rows], subjects, compared)
