"""Start-up time of `--help` and of `predict`, beside a bare Typer program, torch and onnxruntime.

Usage: python benchmarks/startup.py [--rounds 15]

Each figure is of a whole process. Processes take turns, after one of each that fills the disk
cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from measuring import in_turn, median_ratio, show, write

EXAMPLE = Path(__file__).parents[1] / "examples" / "without_torch.py"
BARE = '''
import typer
app = typer.Typer()
@app.command()
def one(number: int = 1) -> None:
    """One."""
@app.command()
def two(number: int = 2) -> None:
    """Two."""
app()
'''


def measure(
    rounds: Annotated[int, typer.Option(help="Processes of each kind.")] = 15,
) -> None:
    """Measures start-up time of whole processes."""
    digitsum = str(Path(sys.executable).with_name("digitsum"))
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("bare.py").write_text(BARE)
        np.save("strip.npy", np.zeros((1, 40, 168), np.uint8))
        commands = {
            "digitsum --help": [digitsum, "--help"],
            "a bare Typer program": [sys.executable, "bare.py", "--help"],
            "digitsum predict, one strip": [digitsum, "predict", "strip.npy"],
            "import torch": [sys.executable, "-c", "import torch"],
            "the same exported, in onnxruntime": [
                sys.executable, str(EXAMPLE), "reader.onnx", "strip.npy",
            ],
        }  # fmt: skip
        subprocess.run([digitsum, "export", "reader", "reader.onnx"], check=True)
        sides = {name: process(command) for name, command in commands.items()}
        in_turn(sides, 1)
        seconds = in_turn(sides, rounds)
        os.chdir("/")
    help_, bare, predict, torch, exported = commands
    rows = [
        {
            "what": ours,
            "s": sorted(seconds[ours])[rounds // 2],
            "beside": theirs,
            "its s": sorted(seconds[theirs])[rounds // 2],
            "ratio": median_ratio(seconds[ours], seconds[theirs]),
        }
        for ours, theirs in ((help_, bare), (predict, torch), (predict, exported))
    ]
    show("start-up time, medians of whole processes", rows)
    write("startup", {"rounds": rounds, "rows": rows})


def process(command: list[str]) -> Callable[[], float]:
    """A side that gives the seconds that a process takes."""

    def side() -> float:
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begun

    return side


if __name__ == "__main__":
    typer.run(measure)
