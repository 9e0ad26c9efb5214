"""The display of a run: a bar on a terminal or in a notebook, elsewhere one line for each epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from digitsum.display import counted, on_one_line
from digitsum.training.events import (
    RESNET_EXACT,
    EpochRecord,
    Estimate,
    Event,
    OnEvent,
    Passed,
    Progress,
    Restart,
    Scoring,
    Start,
)

RESNET = f"{RESNET_EXACT}%, the technical report's pretrained ResNet-50,"
GAP = "  "  # between the fields of a line


def in_notebook() -> bool:
    """Whether this runs in a Jupyter notebook."""
    return Console().is_jupyter


def plain_console(stderr: bool = True, quiet: bool = False) -> Console:
    """A console for plain text: a path may hold [brackets] or :colons:.

    A file stays a file: rich would take it for a terminal under FORCE_COLOR or TTY_COMPATIBLE, and
    fill it with bars. FORCE_COLOR colours it and no more.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    coloured = not terminal and bool(os.environ.get("FORCE_COLOR"))
    return Console(
        stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False,
        force_terminal=None if terminal else False,  # TTY_COMPATIBLE=0 may still say no
        color_system="truecolor" if coloured else "auto",
    )  # fmt: skip


def shows_bars(console: Console) -> bool:
    """Whether it is a terminal that can draw a line anew."""
    return console.is_terminal and console.is_interactive


def say(console: Console, line: str) -> None:
    """A line of text, wrapped between words on a terminal and never wrapped elsewhere."""
    console.print(on_one_line(line), soft_wrap=not console.is_terminal)


class TrainingDisplay:
    """Shows what a run reports.

    Args:
        console: Where; by default stderr.
        then: Called with each event after it is shown.
    """

    def __init__(self, console: Console | None = None, then: OnEvent = lambda event: None) -> None:
        self.console = console or plain_console()
        self.then = then
        widgets = self.console.is_jupyter and find_spec("ipywidgets") is not None
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            disable=not (shows_bars(self.console) or widgets),
            transient=True,
            expand=True,
        )
        self.task = self.bar.add_task("", total=None, epoch="", text="")

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
            self._move(event)
        else:
            width = self.console.width if self.console.is_terminal else None
            say(self.console, words(event, width))
        self.then(event)

    def _move(self, event: Progress) -> None:
        speed = f"{event.strips_per_second:,.0f} strips/s"
        text = f"loss {event.loss:.4f}  {speed}  {duration(event.seconds_left)} left"
        self.bar.update(
            self.task,
            total=event.steps,
            completed=event.step,
            epoch=f"{event.epoch}/{event.epochs}",
            text=text,
        )


def words(event: Event, width: int | None) -> str:
    """An event in words, in a line of at most `width` characters if it is that of an epoch."""
    if isinstance(event, Start):
        return (
            f"{event.arch}, {counted(event.parameters, 'parameter')}: {event.train_strips:,} "
            f"training and {counted(event.val_strips, 'validation strip')}, on {event.device}"
        )
    if isinstance(event, Estimate):
        speed = f"{event.strips_per_second:,.0f} strips/s"
        return f"about {duration(event.seconds)} for {counted(event.epochs, 'epoch')} at {speed}"
    if isinstance(event, Passed):
        return f"{RESNET} reached in epoch {event.epoch}, after {duration(event.seconds)}"
    if isinstance(event, Restart):
        return (
            f"nothing learnt: exact-match accuracy is {event.exact_accuracy:.1f}% after "
            f"{counted(event.epochs, 'epoch')}, and must be above {event.threshold:.1f}%, twice "
            "that of always answering the most common sum; restarting with other initial weights, "
            f"attempt {event.attempt} of {event.attempts}"
        )
    if isinstance(event, Scoring):
        return f"scoring the best and the last checkpoint on {counted(event.strips, 'strip')}"
    assert isinstance(event, EpochRecord)
    return epoch_line(event, width)


def epoch_line(record: EpochRecord, width: int | None) -> str:
    """One line for an epoch; where it is too narrow for all fields, the least ones are left out."""
    fields = [  # priority, text: as in a `digitsum.display.Column`
        (0, f"epoch {record.epoch:3}"),
        (1, f"loss {record.train_loss:.4f}"),
        (0, f"val loss {record.val_loss:.4f}"),
        (0, f"exact-match {record.val_exact_accuracy:.2f}%"),
        (3, f"within 1 {record.val_within_one_accuracy:.2f}%"),
        (4, f"{record.strips_per_second:,.0f} strips/s"),
        (2, f"{record.seconds:.0f} s"),
        (0, "best" if record.best else ""),
    ]
    fields = [field for field in fields if field[1]]
    while width and len(_joined(fields)) > width and (last := max(fields))[0] > 0:
        fields.remove(last)
    return _joined(fields)


def _joined(fields: Sequence[tuple[int, str]]) -> str:
    return GAP.join(text for _, text in fields)


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
