"""`digitsum info` and `digitsum recipes`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from digitsum.cli import completion, options
from digitsum.errors import RecipeError, UsageError


def info(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A checkpoint, or reader; none: this installation.",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="The epochs of its run, as CSV, and nothing else.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what is installed, for a bug report; or the card of a checkpoint."""
    if history and (model is None or as_json):
        raise UsageError("--history goes with a checkpoint, without --json")
    from digitsum import checkpoint as checkpoints
    from digitsum.cli.show import say
    from digitsum.information import HISTORY, card, installation

    if model is None:
        shown = installation()
    else:
        found = checkpoints.load(checkpoints.locate(model))
        shown = card(str(model), found)
    if history:
        table = csv.DictWriter(sys.stdout, HISTORY, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(found.history)
        if not found.history:
            say("this checkpoint keeps no history")
    elif as_json:
        typer.echo(json.dumps(shown, indent=2))
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
            typer.echo(f"{indent}{key.ljust(wide)}  {value}")


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Of a recipe to print.", autocompletion=completion.architectures),
    ] = None,
) -> None:
    """List the recipes that ship, or print one, to begin a --recipe of one's own with."""
    from digitsum.recipe import names

    if name is not None and name not in names():
        raise RecipeError(f"there is no recipe '{name}': there are {', '.join(names())}")
    folder = resources.files("digitsum") / "recipes"
    for one in names() if name is None else [name]:
        text = (folder / f"{one}.yaml").read_text(encoding="utf-8")
        if name is None:
            text = f"{one:8} {text.splitlines()[0].removeprefix('# ')}"
        typer.echo(text.rstrip())
