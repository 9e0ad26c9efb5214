"""Drawings of a report, as SVG that takes the colour of the page's text."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from digitsum.datasets.strips import ROWS
from digitsum.display import png
from digitsum.evaluation.metrics import reliability, selective_accuracy
from digitsum.report.captions import accuracy_by_sum
from digitsum.report.content import ReportContent, Subject
from digitsum.report.explain import Explanation

INK = "#010203"  # stands for the colour of the page's text
COLOURS = ("#3b82c4", "#e07b39", "#3f9d6e", "#b25fb8", "#c2a32e", "#d1495b")  # on light and dark
BINS = 10  # of the reliability diagram
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # real text: small, sharp, and found by the browser's search
    "svg.hashsalt": "digitsum",  # the same figures give the same bytes
    "text.parse_math": False,  # a name may hold dollars
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


_STYLED = threading.RLock()  # matplotlib's settings are there once for a process


@contextlib.contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with _STYLED, mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    """An inline SVG that fills the width it is given."""
    with _STYLED, mpl.rc_context(STYLE):
        figure.savefig(stream := io.StringIO(), format="svg", transparent=True,
                       metadata={"Date": None, "Creator": None})  # fmt: skip
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="presentation">', svg)


def _plain_log(axis: Axis) -> None:
    """A logarithmic axis with few ticks, labelled 20,000 or 0.05."""
    low, high = axis.get_view_interval()
    subs = (1,) if high > 100 * low else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda v, place: f"{v:,.0f}" if v >= 10 else f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def _by_epoch(axes: Axes, numbers: Sequence[float], style: str, **keys: Any) -> None:
    """A line over epochs 1, 2, …, or a point if there is one epoch only."""
    epochs = range(1, len(numbers) + 1)
    axes.plot(epochs, numbers, style, marker="o" if len(numbers) == 1 else None, **keys)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def colour(number: int) -> str:
    """The colour of the model with that number."""
    return COLOURS[number % len(COLOURS)]


def curves(subjects: Sequence[Subject]) -> str:
    """Validation accuracy by epoch, all models in one; below, the losses of each."""
    with _figure(8, 5.4) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))  # type: ignore[misc]
        axes = above.subplots()
        for number, subject in enumerate(subjects):
            exact = [record["val_exact_accuracy"] for record in subject.history]
            _by_epoch(axes, exact, "-", color=colour(number), label=subject.name)
        axes.set(ylabel="validation exact-match %", ylim=(0, 101))
        axes.legend()
        for number, (subject, axes) in enumerate(
            zip(subjects, np.ravel(below.subplots(1, len(subjects))), strict=True)
        ):
            for key, style in (("train_loss", ":"), ("val_loss", "-")):
                losses = [record[key] for record in subject.history]
                _by_epoch(axes, losses, style, color=colour(number))
            axes.set(yscale="log", title=subject.name)
            _plain_log(axes.yaxis)
        np.ravel(below.axes)[0].set_ylabel("loss (dotted: training)")
    return _svg(figure)


def predicted_against_true(report: ReportContent) -> str:
    """How often each value is predicted where each sum is true."""
    subjects = report.subjects
    top = int(report.truth.max())
    with _figure(8, 8 / min(3, max(2, len(subjects))) + 0.3) as figure:
        for subject, axes in zip(
            subjects, np.ravel(figure.subplots(-(-len(subjects) // 3), min(3, len(subjects)),
                                               squeeze=False)), strict=False
        ):  # fmt: skip
            edges = np.arange(-1, top + 2, 0.5) - 0.25, np.arange(top + 2) - 0.5
            counts, _, _ = np.histogram2d(subject.predictions.value, report.truth, edges)
            shown = np.ma.masked_equal(counts, 0)
            extent = (edges[1][0], edges[1][-1], edges[0][0], edges[0][-1])
            axes.imshow(shown, origin="lower", extent=extent, norm="log", aspect="auto",
                        interpolation="nearest", cmap="viridis")  # fmt: skip
            axes.plot([0, top], [0, top], color=INK, linewidth=0.6)
            axes.set(xlabel="true sum", ylabel="predicted value", title=subject.name)
        for axes in figure.axes[len(subjects) :]:
            axes.remove()
    return _svg(figure)


def by_sum(report: ReportContent) -> str:
    """Accuracy of each model by true sum."""
    with _figure(8, 3.2) as figure:
        axes = figure.subplots()
        for number, subject in enumerate(report.subjects):
            sums, right, count = accuracy_by_sum(report.truth, subject.predictions.sum)
            axes.plot(sums, right, color=colour(number), label=subject.name, marker=".")
        behind = axes.twinx()
        behind.bar(sums, count, color=INK, alpha=0.12, width=0.8)
        behind.set_ylim(0, 3 * count.max())
        behind.set_yticks([])
        axes.set(
            xlabel="true sum (grey: how many strips have it)", ylabel="exact-match %", ylim=(0, 101)
        )
        axes.legend()
    return _svg(figure)


def confidence(report: ReportContent) -> str:
    """Accuracy against confidence, and against coverage."""
    with _figure(8, 3.6) as figure:
        left, right_axes = figure.subplots(1, 2)
        for number, subject in enumerate(report.subjects):
            if (given := subject.predictions.confidence) is None:
                continue
            right = subject.predictions.sum == report.truth
            count, mean, correct = reliability(given, right, BINS)
            enough = count >= 10
            left.plot(mean[enough], correct[enough], color=colour(number), marker="o")
            accuracy = selective_accuracy(given, right)
            coverage = np.linspace(0.1, 1, 91)
            at = np.maximum((coverage * len(accuracy)).astype(int) - 1, 0)
            line = accuracy[at]
            right_axes.plot(100 * coverage, line, color=colour(number), label=subject.name)
        left.plot([0, 100], [0, 100], color=INK, linewidth=0.6)
        left.set(xlabel="confidence %", ylabel="exact-match %", title="reliability")
        right_axes.set(xlabel="coverage %", ylabel="exact-match %",
                       title="accuracy of the most confident")  # fmt: skip
        right_axes.legend()
    return _svg(figure)


def cost(report: ReportContent) -> str:
    """Accuracy against parameters and against speed."""
    with _figure(8, 3.2) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for number, subject in enumerate(report.subjects):
            row = subject.row
            for panel, x in zip(axes, (row.parameters, row.strips_per_second), strict=True):
                exact = row.metrics.exact_accuracy
                panel.scatter([x], [exact], color=colour(number), label=subject.name)
        axes[0].set(xscale="log", xlabel="parameters", ylabel="exact-match %", ylim=(0, 101))
        axes[1].set(xscale="log", xlabel="strips/s, here")
        for panel in axes:
            _plain_log(panel.xaxis)
            panel.margins(x=0.3)
        axes[1].legend()
    return _svg(figure)


def columns(explanation: Explanation) -> str:
    """A strip over the probabilities of digits in its columns."""
    assert explanation.map is not None
    with _figure(8, 3.3) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.4))
        width = explanation.strip.shape[1]
        extent = (0, width, ROWS, 0)
        above.imshow(explanation.strip, cmap="gray", extent=extent, aspect="auto", vmin=0, vmax=255)
        above.set_yticks([])
        digits = np.ma.masked_less(explanation.map[1:], 0.01)
        below.imshow(digits, origin="lower", extent=(0, width, -0.5, 9.5), aspect="auto",
                     cmap="viridis", vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
        below.set(xlabel="pixel", ylabel="digit", yticks=range(10))
        prediction = explanation.prediction
        found = zip(prediction.digits or (), prediction.positions or (), strict=True)
        for digit, position in found:
            above.axvline(position + 2, color=COLOURS[1], linewidth=1)
            below.text(position + 7, digit, str(digit), va="center")
    return _svg(figure)


def picture(strip: NDArray[np.uint8], heat: NDArray[np.float32] | None = None) -> str:
    """A strip as a data URI of a PNG; where there is heat, it is drawn over it."""
    if heat is None:
        return png(strip)
    low, high = float(heat.min()), float(heat.max())
    level = (heat - low) / max(high - low, 1e-9)
    shade = mpl.colormaps["inferno"](level)[..., :3] * 255
    return png((0.45 * strip[..., None] + 0.55 * shade).round().astype(np.uint8))
