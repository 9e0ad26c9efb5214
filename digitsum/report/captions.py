"""The sentence under each figure: what to see in it, written from the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digitsum.display import counted
from digitsum.evaluation.metrics import calibration_error, selective_accuracy
from digitsum.predictions import UNLIKELY
from digitsum.report.content import ReportContent, Subject
from digitsum.training.events import RESNET_EXACT
from digitsum.training.progress import duration


def describe_strips(report: ReportContent) -> str:
    """Which strips the figures are on."""
    count = len(report.truth)
    if report.split == "val":
        return (
            f"{counted(count, 'validation strip')} of {report.data}, used for checkpoint selection"
        )
    return f"{counted(count, 'strip')} of {report.data}"


def headline(report: ReportContent) -> str:
    """Which model is the most accurate, and whether that is more than chance."""
    exact = [subject.row.metrics.exact_accuracy for subject in report.subjects]
    order = sorted(range(len(exact)), key=lambda number: -exact[number])
    first = report.subjects[order[0]]
    said = f"{first.name} predicts {exact[order[0]]:.2f}% of the sums right"
    if len(order) == 1:
        return f"{said}."
    second = report.subjects[order[1]]
    pair = report.comparison.pair(order[0], order[1])
    low, high = pair.ci95
    lead = f"{said}, {pair.difference:.2f} points more than {second.name}"
    if pair.p_value < 0.05:
        return f"{lead} (95% interval {low:.2f} to {high:.2f}): more than chance."
    return f"{lead}: on so many strips that may be chance (p = {pair.p_value:.2f})."


def curves(subject: Subject) -> str:
    """Which epoch was best, how the run ended, and when it reached the technical report."""
    said = _best_epoch(subject)
    if subject.passed is None:
        return said
    return (
        f"{said} It reached {RESNET_EXACT}% of the validation strips, as the technical report's "
        f"pretrained ResNet-50 does, in epoch {subject.passed.epoch}, after "
        f"{duration(subject.passed.seconds)}."
    )


def _best_epoch(subject: Subject) -> str:
    losses = np.array([record["val_loss"] for record in subject.history])
    last = len(losses)
    if subject.best_epoch >= last:
        epochs = "its only epoch" if last == 1 else f"the last of its {last} epochs"
        return f"{subject.name} was best in {epochs}."
    rise = 100 * (losses[-1] / losses[subject.best_epoch - 1] - 1)
    return (
        f"{subject.name} was best in epoch {subject.best_epoch} of {last}; in the last one its "
        f"validation loss was {rise:.0f}% higher."
    )


def predicted_against_true(report: ReportContent, subject: Subject) -> str:
    """How far off values are, and whether they are pulled to the middle."""
    off = subject.predictions.value - report.truth
    tenth = max(1, len(off) // 10)
    order = np.argsort(report.truth, kind="stable")
    low, high = off[order[:tenth]].mean(), off[order[-tenth:]].mean()
    said = f"{subject.name} is {subject.row.metrics.rmse:.2f} off (RMSE)"
    if low > 0.25 and high < -0.25:
        return f"{said} and pulls to the middle: {low:+.1f} at low sums, {high:+.1f} at high ones."
    return f"{said}; at the lowest tenth of sums {low:+.2f} on average, at the highest {high:+.2f}."


def by_sum(report: ReportContent, subject: Subject) -> str:
    """Where it is least accurate, among sums that occur often enough to tell."""
    sums, right, count = accuracy_by_sum(report.truth, subject.predictions.sum)
    often = count >= min(50, np.median(count))
    worst = sums[often][np.argmin(right[often])]
    best = sums[often][np.argmax(right[often])]
    if right[often].max() == right[often].min():
        return f"{subject.name} gets {right[often].max():.1f}% right whatever the sum is."
    return (
        f"{subject.name} gets {right[often].max():.1f}% right where the sum is {best} and "
        f"{right[often].min():.1f}% where it is {worst}."
    )


def accuracy_by_sum(
    truth: NDArray[np.int64], read: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Sums that occur, accuracy in percent of each, and how many strips have it."""
    sums, place, count = np.unique(truth, return_inverse=True, return_counts=True)
    return sums, 100 * np.bincount(place, read == truth) / count, count


def confidence(report: ReportContent, subject: Subject) -> str:
    """How well confidence and accuracy agree, and the accuracy at 90% coverage."""
    given = subject.predictions.confidence
    assert given is not None
    right = subject.predictions.sum == report.truth
    accuracy = selective_accuracy(given, right)
    error = calibration_error(given, right)
    at_ninety = accuracy[max(0, int(0.9 * len(accuracy)) - 1)]
    said = (
        f"{subject.name} has an expected calibration error of {error:.2f} points; at 90% coverage, "
        f"the strips of highest confidence, {at_ninety:.2f}% are right."
    )
    counts = subject.predictions.count_probability
    if counts is None or not (unlikely := int((counts < UNLIKELY).sum())):
        return said
    return (
        f"{said} {counted(unlikely, 'strip')} of {len(counts):,} are beyond it: their count "
        f"probability is below {UNLIKELY:g}, whatever their confidence."
    )


def cost(report: ReportContent) -> str:
    """What the most accurate model costs in parameters and time."""
    ranked = sorted(report.subjects, key=lambda s: -s.row.metrics.exact_accuracy)
    best = ranked[0]
    largest = max(report.subjects, key=lambda s: s.row.parameters)
    said = (
        f"{best.name} has {counted(best.row.parameters, 'parameter')} and predicts "
        f"{best.row.strips_per_second:,.0f} strips/s here"
    )
    if largest is best:
        return f"{said}."
    share = 100 * best.row.parameters / largest.row.parameters
    return f"{said}: {share:.2g}% of the parameters of {largest.name}."


def explanations(subject: Subject) -> str:
    """How to read what a model looks at."""
    kind = subject.explanations[0].kind
    if kind == "columns":
        return (
            f"{subject.name}: the strip, and below it the probability of each digit 0 to 9 in each "
            "column. No label told it where the digits stand."
        )
    if kind == "attention":
        maps = [e.map for e in subject.explanations if e.map is not None]
        spread = np.mean([found.max() - found.min() for found in maps])
        return (
            f"{subject.name}: the weight, 0 to 1, that its attention gives to each place; over a "
            f"strip it varies by {spread:.2f}."
        )
    if kind == "saliency":
        return f"{subject.name}: the pixels whose change would change the value most."
    return f"{subject.name}: its architecture gives no map of a strip."
