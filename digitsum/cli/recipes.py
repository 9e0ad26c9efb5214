"""`digitsum recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from digitsum.cli import completion
from digitsum.errors import RecipeError

EXAMPLES = (
    "digitsum recipes",
    "digitsum recipes cnn > my-recipe.yaml",
)


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The recipe to print. Without one, all are listed.",
            autocompletion=completion.architectures,
        ),
    ] = None,
) -> None:
    """List the bundled recipes, or print one.

    There is one for each architecture, and fast for train --recipe. A printed recipe is a start for
    your own --recipe.
    """
    from digitsum.recipe import bundled_text, names, variants

    known = [*names(), *variants()]
    if name is not None and name not in known:
        raise RecipeError(f"there is no recipe '{name}': there are {', '.join(known)}")
    for one in known if name is None else [name]:
        text = bundled_text(one)
        if name is None:
            text = f"{one:8} {text.splitlines()[0].removeprefix('# ')}"
        typer.echo(text.rstrip())
