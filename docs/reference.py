"""Writes docs/commands.md from the commands' help and docs/api.md from docstrings.

Usage: python docs/reference.py    (make reference)
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

import digitsum
from digitsum.cli import app
from digitsum.inference import LoadedModel
from digitsum.readings import Readings
from digitsum.sklearn import DigitSumRegressor

HERE = Path(__file__).parent
WIDTH = "100"
MORE = {
    "LoadedModel": LoadedModel,
    "LoadedModel.predict": LoadedModel.predict,
    "LoadedModel.read": LoadedModel.read,
    "Readings": Readings,
    "DigitSumRegressor": DigitSumRegressor,
    "DigitSumRegressor.fit": DigitSumRegressor.fit,
    "DigitSumRegressor.predict": DigitSumRegressor.predict,
    "DigitSumRegressor.score": DigitSumRegressor.score,
}


def commands() -> str:
    """The help of every command, as it is printed."""
    os.environ["COLUMNS"] = WIDTH
    parts = ["# Commands\n\nWritten by `make reference` from the commands themselves."]
    for name in ["", *get_command(app).commands]:
        help_text = CliRunner().invoke(app, [*name.split(), "--help"], prog_name="digitsum").stdout
        lines = "\n".join(line.rstrip() for line in help_text.strip().splitlines())
        parts.append(f"## digitsum {name}".rstrip() + f"\n\n```text\n{lines}\n```")
    return "\n\n".join(parts) + "\n"


def api() -> str:
    """Signatures and docstrings of the public names."""
    shown = {name: getattr(digitsum, name) for name in digitsum.__all__} | MORE
    parts = ["# Python\n\nWritten by `make reference` from the docstrings."]
    for name, thing in shown.items():
        try:
            signature = str(inspect.signature(thing))
        except ValueError:
            signature = ""
        signature = re.sub(
            r"<function .*?> at 0x\w+>", "...", re.sub(r"'([^']*)'", r"\1", signature)
        )
        text = inspect.cleandoc(thing.__doc__ or "")
        parts.append(f"## {name}\n\n```python\n{name}{signature}\n```\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (HERE / "commands.md").write_text(commands())
    (HERE / "api.md").write_text(api())
