"""Models side by side on the same strips, with the paired test that says whether they differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from digitsum.ambient import default_settings
from digitsum.datasets import Sources, as_strip_set
from digitsum.datasets.strips import StripSet
from digitsum.display import Column, Table, counted
from digitsum.errors import DataError, UsageError
from digitsum.evaluation.metrics import Metrics, metric_columns
from digitsum.evaluation.overlap import TrainingOverlap, is_own, overlap_of_rows, split_rows_of
from digitsum.evaluation.scoring import (
    OnProgress,
    asked_counts,
    predict_rows,
    score_rows,
    selection_note,
    split_name,
    warn_of_counts,
)
from digitsum.evaluation.speed import speeds_of
from digitsum.inference import DigitCount, LoadedModel
from digitsum.predictions import Predictions

RESAMPLES = 10_000  # of the bootstrap


@dataclass(frozen=True)
class ComparedModel:
    """One model's row."""

    model: str
    arch: str
    parameters: int
    strips_per_second: float  # nan where it was not measured
    overlap: TrainingOverlap  # of its run with these strips
    metrics: Metrics

    @property
    def is_timed(self) -> bool:
        """Whether its speed was measured."""
        return not math.isnan(self.strips_per_second)


@dataclass(frozen=True)
class Pair:
    """How two models differ in exact-match accuracy, on the same strips."""

    a: str
    b: str
    difference: float  # exact-match accuracy of a minus b, in points
    ci95: tuple[float, float]  # bootstrap interval of the difference, in points
    p_value: float  # McNemar's exact test, two-sided


@dataclass(frozen=True)
class Comparison:
    """Models on the same `count` strips: a run's `val`, or other `data`."""

    split: str
    count: int
    models: list[ComparedModel]
    pairs: list[Pair]  # of models 0 and 1, 0 and 2, ..., 1 and 2, ...
    rows: NDArray[np.int64] = field(repr=False)  # ascending, of the data
    predictions: list[Predictions] = field(repr=False)  # for these rows, by model

    def __repr__(self) -> str:
        best = max(self.models, key=lambda row: row.metrics.exact_accuracy)
        found = f"highest exact-match {best.metrics.exact_accuracy:.2f}%, {best.model}"
        on = f"{counted(len(self.models), 'model')} on {counted(self.count, 'strip')}"
        return f"Comparison(of {on}: {found})"

    @property
    def selected_on(self) -> bool:
        """Whether strips of this split were used for checkpoint selection."""
        return self.split == "val" and any(row.overlap.selected_on for row in self.models)

    def pair(self, i: int, j: int) -> Pair:
        """The pair of the models with these numbers, seen from the first of the two."""
        low, high = min(i, j), max(i, j)
        numbers = list(itertools.combinations(range(len(self.models)), 2))
        found = self.pairs[numbers.index((low, high))]
        if i == low:
            return found
        down, up = found.ci95
        return Pair(found.b, found.a, 0 - found.difference, (0 - up, 0 - down), found.p_value)

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum compare`."""
        models = []
        for row in self.models:
            line = {
                "model": row.model,
                "arch": row.arch,
                "parameters": row.parameters,
                "strips_per_second": row.strips_per_second,
                **row.metrics.to_dict(),
                "training_overlap": asdict(row.overlap),
            }
            left_out = {"count"} if row.is_timed else {"count", "strips_per_second"}
            models.append({key: value for key, value in line.items() if key not in left_out})
        pairs = [asdict(pair) | {"ci95": list(pair.ci95)} for pair in self.pairs]
        return {"split": self.split, "count": self.count, "models": models, "pairs": pairs}

    def table(self) -> Table:
        """One row for each model."""
        rows = self.models
        name = split_name(self.split, self.selected_on)
        speeds = [f"{row.strips_per_second:,.0f}" for row in rows if row.is_timed]
        return Table(
            f"on {counted(self.count, f'{name} strip')}",
            [
                Column("model", [row.model for row in rows], numeric=False),
                Column("arch", [row.arch for row in rows], numeric=False, priority=8),
                Column("parameters", [f"{row.parameters:,}" for row in rows], priority=2),
                *([Column("strips/s", speeds, priority=2)] if speeds else []),
                *metric_columns([row.metrics for row in rows], groups=[self.split] * len(rows)),
            ],
            selection_note([name]),
        )

    def pair_table(self) -> Table:
        """One row for each pair of models."""
        several = "; p is not adjusted for several pairs" if len(self.pairs) > 1 else ""
        pairs = self.pairs
        return Table(
            f"difference in exact-match accuracy, in points, paired on the same strips{several}",
            [
                Column("a", [pair.a for pair in pairs], numeric=False),
                Column("b", [pair.b for pair in pairs], numeric=False),
                Column("a - b", [f"{pair.difference:+.2f}" for pair in pairs]),
                Column(
                    "95% interval",
                    [f"{pair.ci95[0]:+.2f} to {pair.ci95[1]:+.2f}" for pair in pairs],
                    priority=1,
                ),
                Column("McNemar p", [_p_value(pair.p_value) for pair in pairs]),
            ],
        )

    def __str__(self) -> str:
        tables = [self.table(), *([self.pair_table()] if self.pairs else [])]
        return "\n\n".join(map(str, tables))

    def _repr_html_(self) -> str:
        tables = [self.table(), *([self.pair_table()] if self.pairs else [])]
        return "".join(table._repr_html_() for table in tables)


def _p_value(p_value: float) -> str:
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1e}"


def compare(
    models: Sequence[LoadedModel],
    data: StripSet | Sources,
    seed: int = 0,
    on_progress: OnProgress = lambda strips: None,
    digits_per_strip: DigitCount = None,
    fit: bool = False,
) -> Comparison:
    """Predicts the same strips with every model and tests each pair.

    Of strips that a model trained on, only those that all such models validated on are used.

    Args:
        models: Two or more, from `digitsum.load`.
        data: Strips and sums, or what `open_data` takes.
        seed: Random seed of the bootstrap.
        on_progress: Told how many strips more are done, after each chunk of each model.
        digits_per_strip: See `evaluate`; for the models that tell digits.
        fit: As `open_data`.

    Raises:
        UsageError: There are fewer than two models, or the digit count is not valid.
        DataError: No strip is left that none of the models trained on.
    """
    check_count(models)
    return side_by_side(models, as_strip_set(data, fit), seed, on_progress, digits_per_strip)


@default_settings()
def side_by_side(
    models: Sequence[LoadedModel],
    data: StripSet,
    seed: int = 0,
    on_progress: OnProgress = lambda strips: None,
    digits_per_strip: DigitCount = None,
    timed: bool = True,
) -> Comparison:
    """Does what `compare` does, also for a single model, which has no pair.

    Args:
        models: One or more.
        data: As `compare`.
        seed: As `compare`.
        on_progress: As `compare`.
        digits_per_strip: As `compare`.
        timed: Whether the speed of each model is measured.
    """
    split, rows = common_rows(models, data)
    asked = asked_counts(models, digits_per_strip)
    speeds = speeds_of(models, data, asked) if timed else [math.nan for _ in models]
    predictions = [
        predict_rows(model, data, rows, on_progress, count)
        for model, count in zip(models, asked, strict=True)
    ]
    table = []
    for model, count, speed, found in zip(models, asked, speeds, predictions, strict=True):
        metrics = score_rows(found, data, rows)
        if split == "data":
            warn_of_counts(model, data, found, count)
        overlap = overlap_of_rows(model.checkpoint, data, rows)
        row = ComparedModel(model.name, model.arch, model.parameters, speed, overlap, metrics)
        table.append(row)
    return _with_pairs(split, table, rows, predictions, data, seed)


def pooled(parts: Sequence[Comparison], data: StripSet, seed: int = 0) -> Comparison:
    """Comparisons on different rows of the same strips, as one on all these rows.

    Args:
        parts: Each of the same number of models, which may be others in each part: those of one
            place stand for what was done in the same way.
        data: The strips.
        seed: Random seed of the bootstrap.
    """
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    table, predictions = [], []
    for number, row in enumerate(parts[0].models):
        found = Predictions.concatenate([part.predictions[number] for part in parts])
        predictions.append(found.in_order(order))
        metrics = score_rows(predictions[-1], data, rows[order])
        seen = (part.models[number].overlap for part in parts)
        table.append(replace(row, overlap=sum(seen, TrainingOverlap()), metrics=metrics))
    return _with_pairs(parts[0].split, table, rows[order], predictions, data, seed)


def _with_pairs(
    split: str,
    models: list[ComparedModel],
    rows: NDArray[np.int64],
    predictions: list[Predictions],
    data: StripSet,
    seed: int,
) -> Comparison:
    """The comparison of these models, each pair tested."""
    right = [found.sum == data.sums[rows] for found in predictions]
    rng = np.random.default_rng(seed)
    pairs = [
        paired_test(models[i].model, models[j].model, right[i], right[j], rng)
        for i, j in itertools.combinations(range(len(models)), 2)
    ]
    return Comparison(split, len(rows), models, pairs, rows, predictions)


def strips_to_predict(models: Sequence[LoadedModel], data: StripSet) -> int:
    """How many strips `compare` will report as done, over all models.

    Raises:
        DataError: See `common_rows`.
    """
    return len(models) * len(common_rows(models, data)[1])


def common_rows(models: Sequence[LoadedModel], data: StripSet) -> tuple[str, NDArray[np.int64]]:
    """`val` and the rows that every model of this very data validated on; else `data`, all rows.

    Raises:
        DataError: No such row is left.
    """
    own = [split_rows_of(m.checkpoint, data)["val"] for m in models if is_own(m.checkpoint, data)]
    if not own:
        return "data", np.arange(len(data))
    rows = reduce(np.intersect1d, own)
    if not len(rows):
        raise DataError(
            f"no strip of these validated {' and '.join(model.name for model in models)} (split "
            "seeds differ, or one was adapted to them all): name others, with --data"
        )
    return "val", rows


def paired_test(
    a: str, b: str, right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], rng: np.random.Generator
) -> Pair:
    """Difference of two models on the same N strips.

    McNemar's exact test asks whether the strips that only one of them gets right fall to both
    alike: a two-sided binomial test on their counts. The interval resamples strips; as a strip
    counts -1, 0 or 1, a resample is one multinomial draw of how often each occurs.

    Args:
        a: Name of the first model.
        b: Name of the second.
        right_a: (N,) whether the first got each strip right.
        right_b: (N,) whether the second did.
        rng: Generator for the bootstrap.
    """
    from scipy.stats import binomtest

    count = len(right_a)
    only_a = int(np.sum(right_a & ~right_b))
    only_b = int(np.sum(right_b & ~right_a))
    shares = np.array([only_a, only_b, count - only_a - only_b]) / count
    draws = rng.multinomial(count, shares, RESAMPLES)
    low, high = np.percentile(100 * (draws[:, 0] - draws[:, 1]) / count, [2.5, 97.5])
    differ = only_a + only_b
    return Pair(
        a=a,
        b=b,
        difference=100 * (only_a - only_b) / count,
        ci95=(float(low), float(high)),
        p_value=float(binomtest(only_a, differ).pvalue) if differ else 1.0,
    )


def check_count(models: Sequence[object]) -> None:
    """Refuses to compare fewer than two.

    Raises:
        UsageError: There are fewer than two.
    """
    if len(models) < 2:
        raise UsageError("compare takes two or more checkpoints: name another")
