"""Peak memory of whole processes: predict and eval on few and on many strips, train on 30,000.

Usage: python benchmarks/memory.py [--many 1000000] [--precision int8]

Each figure is the largest resident set of one process, as the system recorded it. The many strips
are a sparse file, which takes no disk space and is read like any other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from measuring import show, write

from digitsum.device import DeviceConfig

FEW, TRAINED = 10_000, 30_000
STRIP = 40 * 168  # bytes


def measure(
    many: Annotated[int, typer.Option(help="Number of strips in the large file.")] = 1_000_000,
    precision: Annotated[str, typer.Option(help="Precision of predictions.")] = "auto",
) -> None:
    """Measures peak memory of whole processes."""
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        base = peak(sys.executable, "-c", "import torch")
        rows.append({"what": "import torch", "strips": 0, "MB": base, "MB more": 0.0})

        def add(what: str, strips: int, *command: str, taken: float = 0.0) -> None:
            found = peak(sys.executable, "-m", "digitsum", *command)
            more = found - base - taken
            rows.append({"what": what, "strips": strips, "MB": found, "MB more": more})

        for count in (FEW, many):
            sparse(f"{count}", count)
            strips, chosen = f"{count}/data0.npy", ("--precision", precision)
            add("predict", count, "predict", strips, "--out", f"{count}.csv", *chosen)
            add("eval", count, "eval", "reader", "--data", str(count), "--json", *chosen)
            Path(f"{count}.csv").unlink()
        made = TRAINED * STRIP / 1e6
        subprocess.run(
            [sys.executable, "-m", "digitsum", "synth", "made", "--strips", str(TRAINED)],
            check=True,
            capture_output=True,
        )
        for arch in ("cnn", "reader"):
            command = ["train", "--arch", arch, "--data", "made", "--limit", "640"]
            add(f"train {arch}", TRAINED, *command, "--epochs", "1", taken=made)
        os.chdir("/")
    show(
        "peak memory; the last column leaves out torch and, for train, the strips themselves", rows
    )
    prediction = DeviceConfig.resolve("cpu", precision, inference=True)
    training = DeviceConfig.resolve("cpu")
    write(
        f"memory_{prediction.precision}",
        {"prediction": str(prediction), "training": str(training), "rows": rows},
    )


def sparse(folder: str, count: int) -> None:
    """Writes black strips, which take no disk space, with a sum of 0 each."""
    Path(folder).mkdir()
    shape = (count, 40, 168)
    np.lib.format.open_memmap(f"{folder}/data0.npy", "w+", np.uint8, shape).flush()
    np.save(f"{folder}/lab0.npy", np.zeros(count, np.int64))


def peak(*command: str) -> float:
    """The largest resident set of a process, in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1e3  # kilobytes on Linux


if __name__ == "__main__":
    typer.run(measure)
