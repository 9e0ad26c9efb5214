"""The metrics of the technical report (section 3), for every model alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitsum.errors import DataError
from digitsum.readings import stack


@dataclass(frozen=True)
class Metrics:
    """Scores over `count` strips. Accuracies are in percent."""

    count: int
    mse: float  # of the value
    rmse: float  # of the value
    mae: float  # of the sum that was read
    exact_accuracy: float  # the sum that was read is the true one
    within_one_accuracy: float  # it is at most 1 off
    digit_accuracy: float | None = None  # digits read right at their place
    string_accuracy: float | None = None  # all digits of the strip are right, and no more

    def to_dict(self) -> dict[str, int | float]:
        """Plain numbers, as checkpoints and JSON hold them; what was not scored is left out."""
        return {name: number for name, number in asdict(self).items() if number is not None}


def score(values: ArrayLike, sums_read: ArrayLike, truth: ArrayLike) -> Metrics:
    """Scores readings against true sums; nothing is clipped.

    MSE and RMSE are of the continuous value, the others of the sum that was read: so the
    technical report's own figures were made (its MAE times the count is whole in all four rows,
    its MSE times the count is not).

    Args:
        values: Continuous estimates, (N,).
        sums_read: Sums that were read, (N,), whole.
        truth: True sums, (N,), whole.

    Raises:
        DataError: There are no strips, the shapes differ, or a number is not finite.
    """
    # Not at the top: scikit-learn takes as long to import as torch, and predict scores nothing.
    from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error

    values, sums_read, truth = (np.asarray(a, dtype=np.float64) for a in (values, sums_read, truth))
    if truth.ndim != 1 or not len(truth) or not values.shape == sums_read.shape == truth.shape:
        raise DataError(
            f"cannot score values {values.shape} and sums {sums_read.shape} against true sums "
            f"{truth.shape}: all three need the same shape (N,), N at least 1"
        )
    if not np.isfinite([values, sums_read, truth]).all():
        raise DataError("cannot score values that are not finite")
    mse = float(mean_squared_error(truth, values))
    return Metrics(
        count=len(truth),
        mse=mse,
        rmse=float(np.sqrt(mse)),
        mae=float(mean_absolute_error(truth, sums_read)),
        exact_accuracy=100 * float(accuracy_score(truth, sums_read)),
        within_one_accuracy=100 * float(np.mean(np.abs(truth - sums_read) <= 1)),
    )


def score_digits(metrics: Metrics, read: NDArray[np.int8], truth: NDArray[np.int8]) -> Metrics:
    """Adds the accuracy of single digits.

    A digit counts as right if its strip's reading has as many digits as the strip, and the same
    one at its place; a reading of another length has no digit right.

    Args:
        metrics: Scores of the same strips.
        read: Digits that were read, (N, K) left to right, padded with -1.
        truth: Digits that stand there, (N, K') likewise.
    """
    read, truth = np.split(stack([read, truth]), 2)  # to one width
    same_length = (read >= 0).sum(1) == (truth >= 0).sum(1)
    right = (read == truth) & (truth >= 0) & same_length[:, None]
    return replace(
        metrics,
        digit_accuracy=100 * float(right.sum() / max((truth >= 0).sum(), 1)),
        string_accuracy=100 * float((read == truth).all(1).mean()),
    )


def calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error in points, with bins of equal width (Guo et al., 2017).

    Args:
        confidence: Of each reading, (N,), 0..1.
        right: Whether its sum is the true one, (N,).
        bins: Into how many parts 0..1 is cut.
    """
    count, sure, correct = reliability(confidence, right, bins)
    return float(np.nansum(count * np.abs(sure - correct)) / count.sum())


def reliability(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """By bins of confidence: strips, mean confidence and exact accuracy in percent, (bins,) each.

    The two are NaN where a bin holds no strip.
    """
    place = np.minimum((np.asarray(confidence, np.float64) * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        sure = 100 * np.bincount(place, confidence, bins) / count
        correct = 100 * np.bincount(place, right, bins) / count
    return count, sure, correct


def selective_accuracy(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Exact accuracy in percent of the n most confident readings, for n in 1..N, (N,)."""
    order = np.argsort(-np.asarray(confidence), kind="stable")
    return np.asarray(100 * np.cumsum(right[order]) / np.arange(1, len(order) + 1))
