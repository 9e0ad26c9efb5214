"""What the parts of `gpu.py` share: where results go, which strips, and the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout needs no installation

import numpy as np
import torch
from measuring import machine

from digitsum import StripSet, compose, open_data
from digitsum.files import whole_file

ARCHS = ("cnn", "reader", "resnet")


@dataclass(frozen=True)
class Session:
    """What every part knows."""

    out: Path  # where results go
    work: Path  # for everything else
    deadline: float  # by time.time()
    small: bool

    @property
    def device(self) -> str:
        """Where everything runs."""
        return "cpu" if self.small else "cuda"

    def save(self, name: str, document: Mapping[str, Any]) -> None:
        """Writes a result, whole or not at all."""
        with whole_file(self.out / f"{name}.json") as stream:
            text = json.dumps({"machine": card(), **document}, indent=1)
            stream.write(text.encode() + b"\n")

    def strips(self, name: str = "mnist") -> StripSet:
        """All strips of that name, or a few."""
        if self.small:
            return compose("builtin", 30, seed=len(name)).as_strips(name)
        return open_data(name)


@cache
def card() -> dict[str, Any]:
    """The machine, its driver, and versions."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = None
    if torch.cuda.is_available() and shutil.which(words[0]):
        driver = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return {
        **machine(),
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def digitsum(*words: object) -> list[str]:
    """The command line of `digitsum`, without an installation."""
    return [sys.executable, "-m", "digitsum", *map(str, words)]


def command(*words: object) -> dict[str, Any]:
    """How a command ended."""
    ended = subprocess.run(digitsum(*words), capture_output=True, text=True, check=False)
    said = {"stderr": ended.stderr[-1500:]} if ended.returncode else {}
    return {"exit_code": ended.returncode, **said}
