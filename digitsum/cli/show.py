"""What people see: progress on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from digitsum.cli.signals import Terminated
from digitsum.distributed import World
from digitsum.outputs import last_path
from digitsum.progress import Estimate, Event, Progress, Report, Restart, Result, Scoring, Start

if TYPE_CHECKING:
    from digitsum.comparison import Comparison
    from digitsum.evaluation import Evaluation, Known
    from digitsum.metrics import Metrics

# plain text: a path may hold [brackets]; of several processes only the first shows anything
_PLAIN: dict[str, Any] = {
    "highlight": False,
    "markup": False,
    "emoji": False,
    "quiet": not World.of_environment().leads,
}
# off a terminal rich falls back to 80 columns and would fold the tables
stdout = Console(width=None if Console().is_terminal else 120, **_PLAIN)
stderr = Console(stderr=True, soft_wrap=True, **_PLAIN)

METRICS = ("mse", "rmse", "mae", "exact %", "within 1 %")
DIGITS = ("digits %", "all digits %")  # of models that tell them, on strips whose truth is known
PARTS = {"train": "training strips", "val": "validation strips", "data": "strips given"}


def say(line: str) -> None:
    """A plain line on stderr."""
    stderr.print(line)


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def metric_names(scored: Iterable[Metrics]) -> tuple[str, ...]:
    """Headings for `metric_cells`: those of single digits only where any are scored."""
    return METRICS + (DIGITS if any(m.digit_accuracy is not None for m in scored) else ())


def metric_cells(metrics: Metrics) -> list[str]:
    """The technical report's five columns, and those of single digits where they are scored."""
    digits = (metrics.digit_accuracy, metrics.string_accuracy)
    return [
        f"{metrics.mse:#.4g}",
        f"{metrics.rmse:#.4g}",
        f"{metrics.mae:#.4g}",
        f"{metrics.exact_accuracy:.2f}",
        f"{metrics.within_one_accuracy:.2f}",
        *(f"{accuracy:.2f}" for accuracy in digits if accuracy is not None),
    ]


def table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    """An empty table: text columns to the left, numbers to the right."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def show_result(result: Result) -> None:
    """The table that closes a training run."""
    made = table("", ["weights", "on"], ["strips", *METRICS])
    for name, scores in (("best", result.best), ("last", result.last)):
        for part, metrics in (("train", scores.train), ("val", scores.val)):
            on = part_name(part, selected_on=name == "best")
            cells = metric_cells(metrics)
            made.add_row(f"{name}, epoch {scores.epoch}", on, f"{metrics.count:,}", *cells)
    stdout.print(made)
    say(f"wrote {result.path} (best) and {result.last_path} (to go on from)")


def show_evaluation(evaluation: Evaluation) -> None:
    """The table of `digitsum eval`."""
    names = metric_names(evaluation.splits.values())
    made = table(f"{evaluation.model} ({evaluation.arch})", ["on"], ["strips", *names])
    for name, metrics in evaluation.splits.items():
        on = part_name(name, evaluation.known.selected_on > 0)
        made.add_row(on, f"{metrics.count:,}", *metric_cells(metrics))
    stdout.print(made)
    if "data" in evaluation.splits:
        say_known(evaluation.model, evaluation.known)


def show_comparison(comparison: Comparison) -> None:
    """The tables of `digitsum compare`."""
    selected = any(row.known.selected_on for row in comparison.models)
    title = f"on {comparison.count:,} {part_name(comparison.split, selected)}"
    names = metric_names(row.metrics for row in comparison.models)
    made = table(title, ["model", "arch"], ["parameters", "strips/s", *names])
    for row in comparison.models:
        speed = f"{row.strips_per_second:,.0f}"
        cells = metric_cells(row.metrics)
        made.add_row(row.model, row.arch, f"{row.parameters:,}", speed, *cells)
    stdout.print(made)
    for row in comparison.models:
        if comparison.split == "data" or row.known.trained_on:
            say_known(row.model, row.known)
    several = ", p not adjusted for several pairs" if len(comparison.pairs) > 1 else ""
    made = table(
        f"exact accuracy, paired on the same strips{several}",
        ["a", "b"],
        ["a - b, points", "95% interval", "McNemar p"],
    )
    for pair in comparison.pairs:
        low, high = pair.ci95
        p_value = f"{pair.p_value:.3f}" if pair.p_value >= 0.001 else f"{pair.p_value:.1e}"
        made.add_row(
            pair.a, pair.b, f"{pair.difference:+.2f}", f"{low:+.2f} to {high:+.2f}", p_value
        )
    stdout.print(made)


def part_name(part: str, selected_on: bool) -> str:
    """A part in words, and whether its strips chose the weights that are shown on it."""
    return PARTS[part] + (" (selected on)" if part == "val" and selected_on else "")


def say_known(model: str, known: Known) -> None:
    """Says so where a model is shown on strips that it was trained or selected on."""
    if known.trained_on:
        say(f"careful: {model} was trained on {known.trained_on:,} of these very strips")
    if known.selected_on:
        say(f"careful: {model} was selected on {known.selected_on:,} of these very strips")


def run_shown(path: Path, train: Callable[[Report], Result], resumed: bool = False) -> None:
    """Runs a training with its display; if a signal stops it, says how to go on."""
    display = TrainingDisplay()
    try:
        with display:
            result = train(display)
    except (KeyboardInterrupt, Terminated):
        how = f"; go on with: digitsum train --resume {last_path(path)}"
        say("stopped" + (how if display.kept or resumed else ": no epoch was finished"))
        raise
    show_result(result)


class TrainingDisplay:
    """Shows a run as it goes: a bar on a terminal, elsewhere one plain line an epoch."""

    def __init__(self) -> None:
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=stderr,
            disable=not stderr.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, epoch="", text="")
        self.kept = False  # whether an epoch of this run is in its checkpoints

    def __enter__(self) -> TrainingDisplay:
        if not self.bar.disable:  # a disabled one writes an empty line in older versions of rich
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.bar.disable:
            self.bar.stop()

    def __call__(self, event: Event) -> None:
        """Takes what a run reports."""
        if isinstance(event, Progress):
            self.bar.update(
                self.task,
                total=event.steps,
                completed=event.step,
                epoch=f"{event.epoch}/{event.epochs}",
                text=f"loss {event.loss:.4f}  {event.strips_per_second:,.0f} strips/s  "
                f"{duration(event.seconds_left)} left",
            )
        elif isinstance(event, Start):
            say(
                f"{event.arch}, {event.parameters:,} parameters: {event.train_strips:,} strips to "
                f"train on, {event.val_strips:,} to validate, on {event.compute}"
            )
        elif isinstance(event, Estimate):
            epochs = f"{event.epochs} epoch{'s' if event.epochs > 1 else ''}"
            speed = f"{event.strips_per_second:,.0f} strips/s"
            say(f"about {duration(event.seconds)} for {epochs} at {speed}")
        elif isinstance(event, Restart):
            say(
                f"nothing learnt: {event.exact_accuracy:.1f}% exact after {event.epochs} epochs, "
                f"always answering the commonest sum twice over is {event.threshold:.1f}%; "
                f"starting again with other weights, attempt {event.attempt} of {event.attempts}"
            )
        elif isinstance(event, Scoring):
            say(f"scoring the best and the last weights on {event.strips:,} strips")
        else:
            self.kept = True
            say(
                f"epoch {event.epoch:3}  loss {event.train_loss:.4f}  "
                f"val loss {event.val_loss:.4f}  val exact {event.val_exact_accuracy:.2f}%  "
                f"within 1 {event.val_within_one_accuracy:.2f}%  "
                f"{event.strips_per_second:,.0f} strips/s  {event.seconds:.0f} s"
                f"{'  best' if event.best else ''}"
            )
