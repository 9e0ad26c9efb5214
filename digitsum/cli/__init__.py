"""The command line: one file a command, each parses, calls the core, shows the result.

Importing this package loads neither torch nor numpy nor scikit-learn; commands import what
they need when they run.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from digitsum import signals
from digitsum._version import __version__
from digitsum.cli import (
    adapt,
    check,
    compare,
    draw,
    eval,
    export,
    info,
    malloc,
    openmp,
    predict,
    recipes,
    report,
    streams,
    synth,
    train,
)
from digitsum.cli.help import Command
from digitsum.display import on_one_line
from digitsum.errors import DataWarning, DigitsumError, is_out_of_memory
from digitsum.training.distributed import World, is_lost_peer

UsageProblem: Any = typer.BadParameter.__base__  # Typer exports only one kind of it

# what a command can do about memory
LESS = {
    "train": "lower --batch-size, or train on fewer or narrower strips",
    "adapt": "give fewer or narrower strips",
    "eval": "give fewer or narrower strips",
    "check": "give fewer or narrower strips",
    "predict": "give smaller pictures or narrower strips",
    "compare": "give fewer models, or fewer or narrower strips",
    "report": "give fewer models, or fewer or narrower strips",
    "draw": "give fewer models",
    "synth": "lower --strips or --width",
}


class Boundary(TyperGroup):
    """The one place that turns errors into a line on stderr and an exit code."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Reads the command line, on which --help and --version write at once."""
        with _boundary():
            return super().make_context(*given, **options)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        with _boundary(ctx), warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            for library in ("PIL", "torch", "onnx"):  # of odd files, of which an error says all
                warnings.filterwarnings("ignore", module=library)
            warnings.showwarning = _show_warning
            signals.raise_from_now()
            result = super().invoke(ctx)
            signals.raise_waiting()
            sys.stdout.flush()  # here, where a full disk is told in one line
            return result


@contextmanager
def _boundary(ctx: Any = None) -> Iterator[None]:
    """Expected failures and signals end the command with their exit codes."""
    try:
        yield
    except UsageProblem as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # whose message is the help
            error.message = on_one_line(error.message)
        raise
    except Exception as error:
        debugging = os.environ.get("DIGITSUM_DEBUG") == "1"
        line = _in_words(error, ctx.invoked_subcommand if ctx else None)
        if line is None or debugging or isinstance(error, BrokenPipeError):
            raise
        if is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # there is none to say so before
        _say(line)
        raise typer.Exit(_exit_code(error)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
    except signals.Terminated as error:
        raise typer.Exit(error.exit_code) from error


def _exit_code(error: Exception) -> int:
    if isinstance(error, DigitsumError) and not is_out_of_memory(error):
        return error.exit_code
    return 1


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
        shown = warnings.formatwarning(message, category, filename, lineno)
        typer.echo("\n".join(map(on_one_line, shown.splitlines())), err=True)
    elif _world().is_main:  # all processes see the same strips
        typer.echo(on_one_line(f"warning: {message}"), err=True)


def _say(line: str) -> None:
    """One line on stderr; of several processes it says which."""
    who = f"process {world.rank}: " if (world := _world()).size > 1 else ""
    typer.echo(on_one_line(f"error: {who}{line}"), err=True)


def _world() -> World:
    try:
        return World.from_environment()
    except DigitsumError:  # which is said, or has been
        return World()


def _in_words(error: Exception, command: str | None) -> str | None:
    """What to say of an error; None if it is a bug."""
    if is_out_of_memory(error):
        return f"out of memory: {LESS.get(command or '', 'close other programs')}, or free some"
    if isinstance(error, DigitsumError):
        return str(error)
    if _world().size > 1 and is_lost_peer(error):
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
    ("adapt", adapt.adapt, adapt.EXAMPLES),
    ("eval", eval.evaluate, eval.EXAMPLES),
    ("predict", predict.predict, predict.EXAMPLES),
    ("compare", compare.compare, compare.EXAMPLES),
    ("check", check.check, check.EXAMPLES),
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
    """Runs the command line. The `digitsum` command comes here through `digitsum.__main__`."""
    streams.prepare()
    signals.exit_at_once()
    malloc.keep_freed()
    openmp.sleep_soon()  # before torch is loaded
    # what torch's C++ logs, with stacks, on the way to an exception that is told in one line
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        app(prog_name="digitsum")
    except SystemExit as ending:
        stopped = isinstance(ending.code, int) and ending.code > 128
        signals.restore() if stopped else signals.ignore()
        streams.settle()
        raise
    except MemoryError:  # there was not even enough to say so
        os.write(2, b"error: out of memory: close other programs\n")
        sys.exit(1)
