"""What people see: progress and words on stderr, tables on stdout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from digitsum.checkpoint_paths import last_path
from digitsum.coercion import whole_number
from digitsum.display import Table
from digitsum.signals import Terminated
from digitsum.training.distributed import World
from digitsum.training.events import OnEvent, Result
from digitsum.training.progress import TrainingDisplay, plain_console, shows_bars
from digitsum.training.progress import say as say_on

if TYPE_CHECKING:
    from digitsum.evaluation.comparison import Comparison
    from digitsum.evaluation.overlap import TrainingOverlap
    from digitsum.evaluation.scoring import Evaluation

PIPE_WIDTH = 120  # characters of a table that does not go to a terminal, unless COLUMNS is set
PADDING = 2  # characters that a column of a drawn table takes besides its cells

# of several processes only the main one shows anything
_quiet = not World.from_environment().is_main
stdout = plain_console(stderr=False, quiet=_quiet)
stderr = plain_console(quiet=_quiet)


def say(line: str) -> None:
    """A plain line on stderr."""
    say_on(stderr, line)


@contextmanager
def progress_bar(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time left on a terminal, nothing elsewhere; gives what advances it.

    Args:
        doing: What is done, in a word or two.
        total: How many strips, or whatever is counted.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=stderr,
        disable=not shows_bars(stderr),
        transient=True,
        expand=True,
    )
    task = bar.add_task(doing, total=total)
    if bar.disable:  # a disabled one writes an empty line in older versions of rich
        yield lambda done: None
        return
    with bar:
        yield lambda done: bar.advance(task, done)


def draw_table(table: Table, width: int) -> RichTable:
    """A table with as many of its columns as `width` characters hold; the best cells are bold."""
    fitted = table.fitted(width, PADDING)
    note = [fitted.note] if fitted.note else []
    if fitted.left_out:
        note.append(f"left out at this width: {', '.join(fitted.left_out)}")
    drawn = RichTable(
        box=SIMPLE_HEAD, show_edge=False, padding=(0, PADDING - 1, 0, 0),
        title=fitted.title or None, title_justify="left", title_style="bold",
        caption="\n".join(note) or None, caption_justify="left",
    )  # fmt: skip
    for column in fitted.columns:
        if column.numeric:
            drawn.add_column(column.header, justify="right", no_wrap=True)
        else:
            drawn.add_column(column.header, overflow="fold", min_width=column.least_width)
    for i in range(len(fitted.columns[0].cells)):
        drawn.add_row(*(Text(c.cells[i], "bold" if i in c.best else "") for c in fitted.columns))
    return drawn


def show_table(table: Table, console: Console = stdout) -> None:
    """Draws a table at the width of the terminal."""
    table = table.on_lines()
    if not console.is_terminal:
        console.width = whole_number(os.environ.get("COLUMNS", "")) or PIPE_WIDTH
    console.print(draw_table(table, console.width))


def show_result(result: Result) -> None:
    """The table that closes a training run."""
    show_table(result.table())
    say(f"wrote {result.path} (best) and {result.last_path} (to resume from)")


def show_evaluation(evaluation: Evaluation) -> None:
    """The table of `digitsum eval`."""
    show_table(evaluation.table())
    if "data" in evaluation.splits:
        say_overlap(evaluation.model, evaluation.overlap)


def show_comparison(comparison: Comparison) -> None:
    """The tables of `digitsum compare`."""
    show_table(comparison.table())
    for row in comparison.models:
        if comparison.split == "data" or row.overlap.trained_on:
            say_overlap(row.model, row.overlap)
    stdout.print()
    show_table(comparison.pair_table())


def say_overlap(model: str, overlap: TrainingOverlap) -> None:
    """Warns where a model is shown on strips that its run has seen."""
    for line in overlap.warnings(model):
        say(line)


def run_shown(path: Path, train: Callable[[OnEvent], Result], resumed: bool = False) -> None:
    """Runs a training with its display; if a signal stops it, says how to resume it."""
    display, before = TrainingDisplay(stderr), _written(last_path(path))
    try:
        with display:
            result = train(display)
    except (KeyboardInterrupt, Terminated):
        command = World.from_environment().command()
        how = f"; resume with: {command} train --resume {last_path(path)}"
        kept = resumed or _written(last_path(path)) not in (before, None)
        say("stopped" + (how if kept else ": no epoch was finished"))
        raise
    show_result(result)


def _written(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written: a signal may come before the epoch is reported."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
