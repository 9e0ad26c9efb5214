"""What the benchmarks share: timing in turns, the name of the machine, tables and JSON files.

A benchmark compares sides, for instance digitsum and the usual way to do the same.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measures each side once a round, so that what slows the machine slows all of them alike."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            measured[name].append(side())
    return measured


def printed_by(script: str, *words: str) -> Callable[[], float]:
    """A side that runs as a process of its own and prints its number last."""

    def run() -> float:
        command = [sys.executable, script, *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout.split()[-1])

    return run


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of the ratio of two sides."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def processor() -> str:
    """The name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def machine() -> dict[str, Any]:
    """The machine that the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": str(torch.__version__),
    }


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Prints rows as a table, headed by their keys."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        cells = (f"{v:,.4g}" if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*cells)
    Console(width=120).print(table)


def put(page: Path, name: str, text: str) -> None:
    """Replaces what stands between the marks `<!-- name -->` and `<!-- /name -->` of a page."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begun, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise SystemExit(f"{page} has no marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def write(name: str, document: Mapping[str, Any]) -> None:
    """Writes a JSON file into the results, together with the machine."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **document}, indent=1) + "\n")
    print(f"wrote {path}")
