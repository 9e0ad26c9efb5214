"""The command line: one file a command, each parses, calls the core, shows the result.

Importing this package loads neither torch nor numpy nor scikit-learn; commands import what
they need when they run.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from digitsum._version import __version__
from digitsum.cli import (
    compare,
    draw,
    eval,
    export,
    info,
    malloc,
    predict,
    recipes,
    report,
    signals,
    streams,
    synth,
    train,
)
from digitsum.cli.help import Command
from digitsum.display import on_one_line
from digitsum.errors import DataWarning, DigitsumError
from digitsum.training.distributed import World, is_lost_peer


class Boundary(TyperGroup):
    """The one place that turns errors into a line on stderr and an exit code."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Reads the command line, on which --help and --version write at once."""
        with _boundary():
            return super().make_context(*given, **options)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        with _boundary(), warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            for library in ("PIL", "torch", "onnx"):  # of odd files, of which an error says all
                warnings.filterwarnings("ignore", module=library)
            warnings.showwarning = _show_warning
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a full disk is told in one line
            return result


@contextmanager
def _boundary() -> Iterator[None]:
    """Expected failures and signals end the command with their exit codes."""
    try:
        yield
    except DigitsumError as error:
        if os.environ.get("DIGITSUM_DEBUG") == "1":
            raise
        _say(str(error))
        raise typer.Exit(error.exit_code) from error
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) or os.environ.get("DIGITSUM_DEBUG") == "1":
            raise
        if not (line := _environment_failure(error)):
            raise
        _say(line)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
    except signals.Terminated as error:
        raise typer.Exit(error.exit_code) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What is odd about the strips as a line on stderr; other warnings as Python shows them."""
    if not issubclass(category, DataWarning):
        typer.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)
    elif World.from_environment().is_main:  # all processes see the same strips
        typer.echo(on_one_line(f"warning: {message}"), err=True)


def _say(line: str) -> None:
    """One line on stderr; of several processes it says which."""
    try:
        world = World.from_environment()
    except DigitsumError:  # which is what is being said
        world = World()
    who = f"process {world.rank}: " if world.size > 1 else ""
    typer.echo(on_one_line(f"error: {who}{line}"), err=True)


def _environment_failure(error: Exception) -> str | None:
    """One line for a failure of the machine rather than of digitsum; None for a bug."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: lower --batch-size, or use fewer or narrower strips"
    if World.from_environment().size > 1 and is_lost_peer(error):
        return "another process of the run ended: see what it says"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "the output"
        return f"cannot write {where}: {error.strerror}; free some, or write elsewhere"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return None


app = typer.Typer(
    cls=Boundary,
    rich_markup_mode=None,  # help is stable text
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _function, _examples in (
    ("train", train.train, train.EXAMPLES),
    ("eval", eval.evaluate, eval.EXAMPLES),
    ("predict", predict.predict, predict.EXAMPLES),
    ("compare", compare.compare, compare.EXAMPLES),
    ("report", report.report, report.EXAMPLES),
    ("draw", draw.draw, draw.EXAMPLES),
    ("export", export.export, export.EXAMPLES),
    ("info", info.info, info.EXAMPLES),
    ("recipes", recipes.recipes, recipes.EXAMPLES),
    ("synth", synth.synth, synth.EXAMPLES),
):
    app.command(_name, cls=Command, epilog="\n".join(_examples))(_function)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"digitsum {__version__}")
        raise typer.Exit


@app.callback()
def _digitsum(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Predict the sum of the handwritten digits in image strips, and learn to from sums alone."""


def main() -> None:
    """Entry point of the `digitsum` command."""
    streams.prepare()
    signals.install()
    malloc.keep_freed()
    try:
        app(prog_name="digitsum")
    except SystemExit as ending:
        if not ending.code:
            signals.ignore()
        streams.settle()
        raise
