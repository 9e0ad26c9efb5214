"""Fault injection: breaks digitsum on purpose and writes what happened into docs/reliability.md.

Usage: python benchmarks/faults.py [--part NAME]... [--kills 50] [--every 1] [--out FILE]

All parts run in the order of `PARTS`, two cases side by side, in half an hour or so. The rows of a
part are in the JSON as soon as it ends, beside those of other parts, and the page is written from
the JSON: parts can run one at a time. Processes, signals and full disks are real; what needs to
mount a file system or to make a device is left out where this user may not. Nothing here is timed.
At the end, any outcome that is not allowed is told with examples, and the exit code is 1.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two children at a time have a core each

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from fault_bombs import try_bombs
from fault_checkpoints import try_checkpoints
from fault_disks import try_disks
from fault_files import try_files
from fault_paths import try_paths
from fault_rows import Row, Session, faults_of, kept, table
from fault_runs import try_runs
from fault_state import try_states
from fault_writers import try_writers
from measuring import RESULTS, machine, put

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
FILE = RESULTS / "faults.json"

PARTS: dict[str, Callable[[Session], Iterator[Row]]] = {
    "runs": try_runs,
    "files": try_files,
    "checkpoints": try_checkpoints,
    "states": try_states,
    "bombs": try_bombs,
    "disks": try_disks,
    "paths": try_paths,
    "writers": try_writers,
}


def break_all(
    part: Annotated[list[str] | None, typer.Option(help="Only these, in this order.")] = None,
    kills: Annotated[int, typer.Option(help="Runs that get SIGKILL.")] = 50,
    signals: Annotated[int, typer.Option(help="Runs that get Ctrl-C or SIGTERM.")] = 20,
    files: Annotated[int, typer.Option(help="Damaged .npy files.")] = 100_000,
    states: Annotated[int, typer.Option(help="Forged .last.pt files.")] = 1000,
    lengths: Annotated[int, typer.Option(help="Lengths at which a disk is full.")] = 64,
    writers: Annotated[int, typer.Option(help="Concurrent writers of one name.")] = 64,
    every: Annotated[int, typer.Option(help="Try each so-manieth of the listed cases.")] = 1,
    out: Annotated[Path, typer.Option(help="The JSON; the page is of the default one.")] = FILE,
) -> None:
    """Tries all faults."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    torch.set_num_threads(1)  # threads do not survive a fork
    for name in (names := part or list(PARTS)):
        with TemporaryDirectory(prefix="digitsum-faults-") as folder:
            counts = (kills, signals, files, states, lengths, writers, every)
            run_part(name, Session(Path(folder).resolve(), *counts), out.resolve())
    found = faults_of({name: kept(out)[name] for name in names})
    print("\n".join(found) or "every outcome is allowed")
    raise typer.Exit(1 if found else 0)


def run_part(name: str, session: Session, out: Path) -> None:
    """Runs a part; its rows are in the JSON, and on the page, as they come."""
    begun, rows = time.monotonic(), []
    for row in PARTS[name](session):
        rows.append(row.to_dict())
        print(json.dumps(rows[-1]), flush=True)
        parts = {**kept(out), name: {"machine": machine(), "rows": rows}}
        parts = {known: parts[known] for known in PARTS if known in parts}
        out.write_text(json.dumps({"parts": parts}, indent=1) + "\n")
        if out == FILE:
            put(PAGE, "faults", table(parts))
    print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(break_all)
