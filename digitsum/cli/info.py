"""`digitsum info`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from digitsum.checkpoint_paths import locate_checkpoint
from digitsum.cli import completion, options
from digitsum.cli.writers import cell, to_json
from digitsum.display import on_one_line
from digitsum.errors import UsageError

EXAMPLES = (
    "digitsum info",
    "digitsum info cnn.pt --history > history.csv",
)

HISTORY = ("epoch", "train_loss", "val_loss", "val_exact_accuracy", "val_within_one_accuracy",
           "lr", "seconds", "strips_per_second", "best", "attempt")  # fmt: skip


def info(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A checkpoint, or reader: the bundled weights. Without one, this installation.",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Print the epochs of its run as CSV and nothing else.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what is installed, or what a checkpoint is."""
    if history and (model is None or as_json):
        raise UsageError("--history goes with a checkpoint, without --json")
    from digitsum.checkpoint import card, load_checkpoint
    from digitsum.cli.display import say
    from digitsum.environment import installation

    if model is None:
        shown = installation()
    else:
        found = load_checkpoint(locate_checkpoint(model))
        shown = card(str(model), found)
    if history:
        table = csv.DictWriter(sys.stdout, HISTORY, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for record in found.history:
            table.writerow({name: cell(value) for name, value in record.items()})
        if not found.history:
            say("this checkpoint keeps no history")
    elif as_json:
        typer.echo(to_json(shown))
    else:
        _print(shown)


def _print(values: Mapping[str, Any], indent: str = "") -> None:
    """Keys and values in two columns, what lies inside indented."""
    wide = max((len(key) for key in values), default=0)
    for key, value in values.items():
        if isinstance(value, Mapping):
            typer.echo(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            if isinstance(value, list):
                value = ", ".join(map(str, value))
            elif isinstance(value, int) and not isinstance(value, bool):
                value = f"{value:,}"
            elif isinstance(value, float):
                value = f"{value:.6g}"
            typer.echo(on_one_line(f"{indent}{key.ljust(wide)}  {value}"))
