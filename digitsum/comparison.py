"""Models side by side on the same strips, with the paired test that says whether they differ."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ROWS, StripSet
from digitsum.errors import DataError, UsageError, prefixed
from digitsum.evaluation import Known, is_own, known_rows, parts, read_rows, score_rows
from digitsum.inference import BATCH, LoadedModel
from digitsum.metrics import Metrics
from digitsum.readings import Readings

RESAMPLES = 10_000  # of the bootstrap
ROUNDS = 5  # of timing; the models take turns in each
TIMED = 8 * BATCH  # strips that a model reads in a round


@dataclass(frozen=True)
class Row:
    """One model's line."""

    model: str
    arch: str
    parameters: int
    strips_per_second: float
    known: Known  # strips of its run among these
    metrics: Metrics


@dataclass(frozen=True)
class Pair:
    """How two models differ in exact accuracy, on the same strips."""

    a: str
    b: str
    difference: float  # exact accuracy of a minus b, in points
    ci95: tuple[float, float]  # bootstrap interval of the difference, in points
    p_value: float  # McNemar's exact test, two-sided


@dataclass(frozen=True)
class Comparison:
    """Two or more models on the same `count` strips: a run's `val`, or other `data`."""

    split: str
    count: int
    models: list[Row]
    pairs: list[Pair]
    rows: NDArray[np.int64] = field(repr=False)  # ascending, of the data
    readings: list[Readings] = field(repr=False)  # of these rows, by model

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum compare`."""
        models = []
        for row in self.models:
            line = asdict(row) | asdict(row.known) | row.metrics.to_dict()
            models.append({k: v for k, v in line.items() if k not in ("known", "metrics")})
        pairs = [asdict(pair) | {"ci95": list(pair.ci95)} for pair in self.pairs]
        return {"split": self.split, "count": self.count, "models": models, "pairs": pairs}


def compare(models: Sequence[LoadedModel], data: StripSet, seed: int = 0) -> Comparison:
    """Reads the same strips with every model and tests each pair.

    Of strips that a model trained on, only those that all such models validated on are used.

    Args:
        models: Two or more.
        data: Strips and sums.
        seed: Of the bootstrap.

    Raises:
        UsageError: There are fewer than two models.
        DataError: No strip is left that none of the models trained on.
    """
    check_count(models)
    return side_by_side(models, data, seed)


def side_by_side(models: Sequence[LoadedModel], data: StripSet, seed: int = 0) -> Comparison:
    """As `compare`, and a single model is fine: then there is no pair."""
    split, rows = common_rows(models, data)
    speeds = _speeds(models, data)
    readings = [read_rows(model, data, rows) for model in models]
    table = []
    for model, speed, read in zip(models, speeds, readings, strict=True):
        metrics = score_rows(read, data, rows)
        known = known_rows(model.checkpoint, data, rows)
        table.append(Row(model.name, model.arch, model.parameters, speed, known, metrics))
    right = [read.sum == data.sums[rows] for read in readings]
    rng = np.random.default_rng(seed)
    pairs = [
        paired_test(models[i].name, models[j].name, right[i], right[j], rng)
        for i, j in itertools.combinations(range(len(models)), 2)
    ]
    return Comparison(split, len(rows), table, pairs, rows, readings)


def common_rows(models: Sequence[LoadedModel], data: StripSet) -> tuple[str, NDArray[np.int64]]:
    """`val` and the rows that every model of this very data validated on; else `data`, all rows.

    Raises:
        DataError: No such row is left.
    """
    own = [parts(m.checkpoint, data)["val"] for m in models if is_own(m.checkpoint, data)]
    if not own:
        return "data", np.arange(len(data))
    rows = reduce(np.intersect1d, own)
    if not len(rows):
        raise DataError(
            "these models have no validation strips in common (their split seeds differ): compare "
            "them on strips that none trained on, with --data"
        )
    return "val", rows


def paired_test(
    a: str, b: str, right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], rng: np.random.Generator
) -> Pair:
    """Difference of two models that read the same N strips.

    McNemar's exact test asks whether the strips that only one of them reads right fall to both
    alike: a two-sided binomial test on their counts. The interval resamples strips; as a strip
    counts -1, 0 or 1, a resample is one multinomial draw of how often each occurs.

    Args:
        a: Name of the first model.
        b: Name of the second.
        right_a: (N,) whether the first read each strip right.
        right_b: (N,) whether the second did.
        rng: For the bootstrap.
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


def _speeds(models: Sequence[LoadedModel], data: StripSet) -> list[float]:
    """Strips per second of each model: the median of rounds in which they take turns."""
    strips = np.resize(next(data.chunks(size=TIMED)), (TIMED, ROWS, data.width))
    rates: list[list[float]] = [[] for _ in models]
    for timed in range(ROUNDS + 1):
        for model, rate in zip(models, rates, strict=True):
            start = time.perf_counter()
            with prefixed(model.name):
                model.read(strips)
            if timed:  # the first round warms up
                rate.append(len(strips) / (time.perf_counter() - start))
    return [float(np.median(rate)) for rate in rates]


def check_count(models: Sequence[object]) -> None:
    """Refuses to compare fewer than two.

    Raises:
        UsageError: There are fewer than two.
    """
    if len(models) < 2:
        raise UsageError("compare takes two or more checkpoints: name another")


def check_same_validation(models: Sequence[LoadedModel]) -> None:
    """Refuses models whose runs used different strips, or validated on different ones.

    Raises:
        UsageError: They were trained on different strips, or split them differently.
    """
    first = models[0].checkpoint
    for model in models[1:]:
        other = model.checkpoint
        if other.data["fingerprint"] != first.data["fingerprint"]:
            raise UsageError(
                f"{models[0].name} and {model.name} were trained on different strips "
                f"({' '.join(first.data['name'])}; {' '.join(other.data['name'])}): name strips "
                "to compare them on with --data"
            )
        if not np.array_equal(np.sort(first.split["val"]), np.sort(other.split["val"])):
            raise UsageError(
                f"{models[0].name} and {model.name} validated on different strips: name strips "
                "to compare them on with --data"
            )
