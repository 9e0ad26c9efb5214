"""The metrics of the technical report (section 3), for every model alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitsum.display import Column, best_rows, counted
from digitsum.errors import DataError


@dataclass(frozen=True)
class Metrics:
    """Scores over `count` strips. Accuracies are in percent."""

    count: int
    mse: float  # of the value
    rmse: float  # of the value
    mae: float  # of the predicted sum
    exact_accuracy: float  # exact-match accuracy: the predicted sum is the true one
    within_one_accuracy: float  # the predicted sum is at most 1 off
    digit_accuracy: float | None = None  # digits that are right at their place
    string_accuracy: float | None = None  # strips whose digits are all right, and no more

    def __repr__(self) -> str:
        exact = f"exact-match {self.exact_accuracy:.2f}%"
        return f"Metrics({counted(self.count, 'strip')}: {exact}, MAE {self.mae:#.4g})"

    def to_dict(self) -> dict[str, int | float]:
        """Plain numbers, as checkpoints and JSON hold them; what was not scored is left out."""
        return {name: number for name, number in asdict(self).items() if number is not None}


# header, field, format, which end is good, priority in a narrow table
_COLUMNS: tuple[tuple[str, str, str, Literal["low", "high"], int], ...] = (
    ("MSE", "mse", "#.4g", "low", 6),
    ("RMSE", "rmse", "#.4g", "low", 3),
    ("MAE", "mae", "#.4g", "low", 1),
    ("exact-match %", "exact_accuracy", ".2f", "high", 0),
    ("within 1 %", "within_one_accuracy", ".2f", "high", 2),
    ("digit %", "digit_accuracy", ".2f", "high", 4),
    ("string %", "string_accuracy", ".2f", "high", 5),
)


def metric_columns(rows: Sequence[Metrics], groups: Sequence[object]) -> list[Column]:
    """The metrics as columns of a table; those of digits only where any are scored.

    Args:
        rows: One set of metrics for each row.
        groups: Rows with equal entries are on the same strips, so that one is the best.
    """
    columns = []
    for header, name, form, better, priority in _COLUMNS:
        values = [getattr(metrics, name) for metrics in rows]
        if all(value is None for value in values):
            continue
        cells = ["-" if value is None else format(value, form) for value in values]
        best = best_rows(values, better, groups)
        columns.append(Column(header, cells, priority=priority, best=best))
    return columns


def score(values: ArrayLike, sums_read: ArrayLike, truth: ArrayLike) -> Metrics:
    """Scores predictions against true sums; nothing is clipped.

    MSE and RMSE are of the continuous value, the others of the predicted sum, as the technical
    report's own figures were made (its MAE times the count is whole in all four rows, its MSE
    times the count is not).

    Args:
        values: Continuous estimates, (N,).
        sums_read: Predicted sums, (N,), whole.
        truth: True sums, (N,), whole.

    Raises:
        DataError: There are no strips, the shapes differ, or a number is not finite.
    """
    values, sums_read, truth = (np.asarray(a, dtype=np.float64) for a in (values, sums_read, truth))
    if truth.ndim != 1 or not len(truth) or not values.shape == sums_read.shape == truth.shape:
        raise DataError(
            f"cannot score values {values.shape} and sums {sums_read.shape} against true sums "
            f"{truth.shape}: all three need the same shape (N,), N at least 1"
        )
    if not np.isfinite([values, sums_read, truth]).all():
        raise DataError("cannot score values that are not finite")
    off = np.abs(sums_read - truth)
    mse = float(np.mean((values - truth) ** 2))
    return Metrics(
        count=len(truth),
        mse=mse,
        rmse=float(np.sqrt(mse)),
        mae=float(np.mean(off)),
        exact_accuracy=100 * float(np.mean(off == 0)),
        within_one_accuracy=100 * float(np.mean(off <= 1)),
    )


def score_digits(metrics: Metrics, read: NDArray[np.int8], truth: NDArray[np.int8]) -> Metrics:
    """Adds the accuracy of single digits.

    A digit counts as right if as many digits are predicted as there are in the strip, and the same
    one at its place. Where the number differs, no digit is right.

    Args:
        metrics: Scores of the same strips.
        read: Predicted digits, (N, K) left to right, padded with -1.
        truth: True digits, (N, K') likewise.
    """
    longest = max(read.shape[1], truth.shape[1])
    read, truth = _padded(read, longest), _padded(truth, longest)
    same_length = (read >= 0).sum(1) == (truth >= 0).sum(1)
    right = (read == truth) & (truth >= 0) & same_length[:, None]
    return replace(
        metrics,
        digit_accuracy=100 * float(right.sum() / max((truth >= 0).sum(), 1)),
        string_accuracy=100 * float((read == truth).all(1).mean()),
    )


def _padded(digits: NDArray[np.int8], longest: int) -> NDArray[np.int8]:
    """Digits (N, K) padded with -1 to (N, longest)."""
    missing = longest - digits.shape[1]
    return np.pad(digits, ((0, 0), (0, missing)), constant_values=-1)


def calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error in points, with bins of equal width (Guo et al., 2017).

    Args:
        confidence: The confidence of each prediction, (N,), 0..1.
        right: Whether its sum is the true one, (N,).
        bins: Into how many bins 0..1 is cut.
    """
    count, mean, correct = reliability(confidence, right, bins)
    return float(np.nansum(count * np.abs(mean - correct)) / count.sum())


def reliability(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Strips, mean confidence and accuracy in percent of each bin of confidence, (bins,) each.

    The two are NaN where a bin holds no strip.
    """
    place = np.minimum((np.asarray(confidence, np.float64) * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = 100 * np.bincount(place, confidence, bins) / count
        correct = 100 * np.bincount(place, right, bins) / count
    return count, mean, correct


def selective_accuracy(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Exact-match accuracy in percent of the n most confident predictions, for n in 1..N, (N,)."""
    order = np.argsort(-np.asarray(confidence), kind="stable")
    return np.asarray(100 * np.cumsum(right[order]) / np.arange(1, len(order) + 1))
