"""Writes docs/commands.md from the commands' help and docs/api.md from docstrings.

Usage: python scripts/reference.py    (or make reference)
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

import digitsum
from digitsum import Recipe, StripSet
from digitsum.cli import app
from digitsum.datasets.synthesis import Composition
from digitsum.file_predictor import FilePredictions, FilePredictor
from digitsum.inference import LoadedModel
from digitsum.predictions import Predictions
from digitsum.sklearn import DigitSumRegressor

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = "100"
MORE = {
    "Recipe.from_dict": Recipe.from_dict,
    "Recipe.to_dict": Recipe.to_dict,
    "StripSet.from_arrays": StripSet.from_arrays,
    "Composition": Composition,
    "Composition.as_strips": Composition.as_strips,
    "LoadedModel.predict": LoadedModel.predict,
    "Predictions.to_dict": Predictions.to_dict,
    "Predictions.to_pandas": Predictions.to_pandas,
    "FilePredictor": FilePredictor,
    "FilePredictions": FilePredictions,
    "DigitSumRegressor": DigitSumRegressor,
    "DigitSumRegressor.fit": DigitSumRegressor.fit,
    "DigitSumRegressor.predict": DigitSumRegressor.predict,
    "DigitSumRegressor.predictions": DigitSumRegressor.predictions,
    "DigitSumRegressor.score": DigitSumRegressor.score,
}


def commands() -> str:
    """The help of every command, as it is printed."""
    os.environ["COLUMNS"] = WIDTH
    parts = ["# Commands\n\nWritten by `make reference` from the commands themselves."]
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    for name in ["", *program.commands]:
        help_text = CliRunner().invoke(app, [*name.split(), "--help"], prog_name="digitsum").stdout
        lines = "\n".join(line.rstrip() for line in help_text.strip().splitlines())
        parts.append(f"## digitsum {name}".rstrip() + f"\n\n```text\n{lines}\n```")
    return "\n\n".join(parts) + "\n"


def api() -> str:
    """Signatures and docstrings of the public names."""
    public = {name: getattr(digitsum, name) for name in digitsum.__all__}
    shown = {name: thing for name, thing in {**public, **MORE}.items() if callable(thing)}
    parts = ["# Python\n\nWritten by `make reference` from the docstrings."]
    for name, thing in shown.items():
        signature = inspect.signature(thing)
        parameters = [p for p in signature.parameters.values() if not p.name.startswith("_")]
        words = str(signature.replace(parameters=parameters))
        words = re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", words)  # annotations are texts
        words = re.sub(r"<function .*?> at 0x\w+>", "...", words)
        text = inspect.cleandoc(thing.__doc__ or "")
        parts.append(f"## {name}\n\n```python\n{name}{words}\n```\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (DOCS / "commands.md").write_text(commands())
    (DOCS / "api.md").write_text(api())
