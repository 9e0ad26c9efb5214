"""The sentence under each figure: what to see in it, written from the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digitsum.comparison import Pair
from digitsum.metrics import calibration_error, selective_accuracy
from digitsum.report.gather import Report, Subject


def strips_in_words(report: Report) -> str:
    """Which strips the figures are on."""
    count = f"{len(report.truth):,}"
    if report.split == "val":
        return f"{count} validation strips of {report.data}, by which weights were selected"
    return f"{count} strips of {report.data}"


def headline(report: Report) -> str:
    """Who reads the most strips right, and whether that is more than chance."""
    ranked = sorted(report.subjects, key=lambda s: -s.row.metrics.exact_accuracy)
    first = ranked[0]
    said = f"{first.name} reads {first.row.metrics.exact_accuracy:.2f}% of the sums right"
    if len(ranked) == 1:
        return f"{said}."
    second = ranked[1]
    pair = _pair(report.comparison.pairs, first.name, second.name)
    lead = abs(pair.difference)
    low, high = sorted(abs(edge) for edge in pair.ci95)
    if pair.p_value < 0.05:
        return (
            f"{said}, {lead:.2f} points more than {second.name} (95% interval {low:.2f} to "
            f"{high:.2f}): more than chance."
        )
    return (
        f"{said}, {lead:.2f} points more than {second.name}: on so many strips that may be "
        f"chance (p = {pair.p_value:.2f})."
    )


def _pair(pairs: list[Pair], a: str, b: str) -> Pair:
    return next(pair for pair in pairs if {pair.a, pair.b} == {a, b} or a == b)


def curves(subject: Subject) -> str:
    """When it was best, and how it ended."""
    losses = np.array([record["val_loss"] for record in subject.history])
    last = len(losses)
    if subject.best_epoch >= last:
        epochs = "its only epoch" if last == 1 else f"the last of its {last} epochs"
        return f"{subject.name} was at its best in {epochs}."
    rise = 100 * (losses[-1] / losses[subject.best_epoch - 1] - 1)
    return (
        f"{subject.name} was best in epoch {subject.best_epoch} of {last}; in the last one its "
        f"validation loss was {rise:.0f}% higher."
    )


def read_against_true(report: Report, subject: Subject) -> str:
    """How far off values are, and whether they are pulled to the middle."""
    off = subject.readings.value - report.truth
    tenth = max(1, len(off) // 10)
    order = np.argsort(report.truth, kind="stable")
    low, high = off[order[:tenth]].mean(), off[order[-tenth:]].mean()
    said = f"{subject.name} is {subject.row.metrics.rmse:.2f} off (RMSE)"
    if low > 0.25 and high < -0.25:
        return f"{said} and pulls to the middle: {low:+.1f} at low sums, {high:+.1f} at high ones."
    return f"{said}; at the lowest tenth of sums {low:+.2f} on average, at the highest {high:+.2f}."


def by_sum(report: Report, subject: Subject) -> str:
    """Where it does worst, among sums that occur often enough to tell."""
    sums, right, count = accuracy_by_sum(report.truth, subject.readings.sum)
    often = count >= min(50, np.median(count))
    worst = sums[often][np.argmin(right[often])]
    best = sums[often][np.argmax(right[often])]
    if right[often].max() == right[often].min():
        return f"{subject.name} reads {right[often].max():.1f}% right whatever the sum is."
    return (
        f"{subject.name} reads {right[often].max():.1f}% right where the sum is {best} and "
        f"{right[often].min():.1f}% where it is {worst}."
    )


def accuracy_by_sum(
    truth: NDArray[np.int64], read: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Sums that occur, exact accuracy in percent of each, and how many strips have it."""
    sums, place, count = np.unique(truth, return_inverse=True, return_counts=True)
    return sums, 100 * np.bincount(place, read == truth) / count, count


def confidence(report: Report, subject: Subject) -> str:
    """Whether it is as often right as it says, and what comes of answering when it is sure."""
    sure = subject.readings.confidence
    assert sure is not None
    right = subject.readings.sum == report.truth
    accuracy = selective_accuracy(sure, right)
    error = calibration_error(sure, right)
    at_ninety = accuracy[max(0, int(0.9 * len(accuracy)) - 1)]
    return (
        f"{subject.name}'s confidence is {error:.2f} points off on average (expected calibration "
        f"error); of the 90% of strips that it is surest of, {at_ninety:.2f}% are right."
    )


def cost(report: Report) -> str:
    """What is bought with parameters and time."""
    ranked = sorted(report.subjects, key=lambda s: -s.row.metrics.exact_accuracy)
    best = ranked[0]
    largest = max(report.subjects, key=lambda s: s.row.parameters)
    said = (
        f"{best.name} has {best.row.parameters:,} parameters and reads "
        f"{best.row.strips_per_second:,.0f} strips/s here"
    )
    if largest is best:
        return f"{said}."
    share = 100 * best.row.parameters / largest.row.parameters
    return f"{said}: {share:.2g}% of the parameters of {largest.name}."


def looks(subject: Subject) -> str:
    """How to read what a model sees."""
    kind = subject.looks[0].kind
    if kind == "columns":
        return (
            f"{subject.name}: each column of the strip, and under it how probable it is that a "
            "digit 0 to 9 is read there. Nobody told it where the digits stand."
        )
    if kind == "attention":
        spread = np.mean([look.map.max() - look.map.min() for look in subject.looks])
        return (
            f"{subject.name}: the weight, 0 to 1, that its attention gives to each place; over a "
            f"strip it varies by {spread:.2f}."
        )
    return f"{subject.name}: the pixels whose change would change the value most."
