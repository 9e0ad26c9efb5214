"""Models and strips, as the options of a command name them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from digitsum.errors import UsageError

if TYPE_CHECKING:
    from digitsum.datasets.strips import StripSet
    from digitsum.inference import LoadedModel


def find_modules_here() -> None:
    """Lets `--arch my_module:Class` name a module in this folder; installed ones come first."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


def load_models(
    paths: Sequence[Path | str], device: str, precision: str, arch: Sequence[str] | None
) -> list[LoadedModel]:
    """The models behind the checkpoints.

    Raises:
        UsageError: An architecture was named that none of them is of.
        CheckpointError: See `inference.load_model`.
    """
    from digitsum.inference import load_model

    named = arch or []
    if named:
        find_modules_here()
    models = [load_model(path, device, precision, named) for path in paths]
    for name in named:
        if name not in (found := {model.arch for model in models}):
            raise UsageError(f"--arch {name}: no checkpoint here is of it, but of {_listed(found)}")
    return models


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def strips_for(
    models: Sequence[LoadedModel],
    data: Sequence[str] | None,
    labels: Path | None,
    mnist_root: Path | None,
) -> StripSet:
    """The strips that the options name, or those of the models' own run.

    Raises:
        UsageError, DataError: See `evaluation.overlap.given_or_own`.
    """
    from digitsum.cli.display import say
    from digitsum.datasets import DataOptions
    from digitsum.evaluation.overlap import given_or_own

    given = DataOptions(data or (), labels, mnist_root)
    strips = given_or_own(given, [(model.name, model.checkpoint) for model in models])
    for note in strips.notes:
        say(note)
    return strips
