"""Time to accuracy: how soon `digitsum train` is past the technical report's pretrained ResNet-50.

Usage: python benchmarks/time_to_accuracy.py --before FOLDER [--seeds 3] [--mnist-root FOLDER]
       python benchmarks/time_to_accuracy.py --side recipe --whole --seeds 5 [--mnist-root FOLDER]
       python benchmarks/time_to_accuracy.py --seeds 0 --plot docs/results/time_to_accuracy.png

The reader before it was made faster lies in a worktree:

    git worktree add FOLDER 1a0504c

A side is the command itself, in a process of its own: `digitsum train --data mnist --seed N` with
`--recipe fast`, and with `--arch reader` for the one before. Seconds run from its start to the line
of an epoch. A run is stopped once its line says 94.92% of the validation strips or more; with
--whole it runs to its end, and its best checkpoint is scored on `mnist-test`. Sides are measured in
turn, seed by seed, so that each stands beside one on the same machine. Every run is a cell of
`results/time_to_accuracy.json`, under the processor and its instructions, written as it ends; a
cell that is there is not measured again.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from measuring import RESULTS, machine, show

from digitsum.training.events import RESNET_EXACT

NAME = "time_to_accuracy"
EPOCH = re.compile(r"epoch +(\d+) .*exact(?:-match)? ([\d.]+)%")  # the reader before says exact
HERE = Path(__file__).parents[1]
BEFORE, RECIPE, FAST = "before", "recipe", "fast"
SIDES = {  # what each adds to `digitsum train`
    BEFORE: ["--arch", "reader"],
    RECIPE: ["--arch", "reader"],
    FAST: ["--recipe", "fast"],
    "cnn": ["--arch", "cnn"],
}
LINES = {  # how a picture names the sides, and draws them
    FAST: ("--recipe fast", "C1"),
    RECIPE: ("--arch reader", "C0"),
    BEFORE: ("--arch reader, at 1a0504c", "0.4"),
    "cnn": ("--arch cnn", "C2"),
}

Cell = dict[str, Any]


def measure(
    before: Annotated[
        Path | None, typer.Option(help="A worktree of the reader before; without it, ours alone.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each side.")] = 3,
    sides: Annotated[
        list[str] | None,
        typer.Option("--side", help=f"Sides, of {', '.join(SIDES)}.", show_default="fast, before"),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="To the end of the recipe, and mnist-test.")
    ] = False,
    mnist_root: Annotated[Path | None, typer.Option(help="Where MNIST lies.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="A picture of this machine's cells, for which matplotlib is needed."),
    ] = None,
) -> None:
    """Measures time to accuracy."""
    measured = kept()
    cells = measured.setdefault("{processor}, {instructions}".format_map(machine()), {})
    for seed in range(seeds):
        for side in sides or ([FAST] if whole else [FAST, BEFORE]):
            folder = before if side == BEFORE else HERE
            key = f"{side}, seed {seed}" + (", whole" if whole else "")
            if key in cells or folder is None:
                continue
            print(key, flush=True)
            cells[key] = timed(folder, side, seed, whole, mnist_root)
            (RESULTS / f"{NAME}.json").write_text(json.dumps(measured, indent=1) + "\n")
    summarize(cells)
    if plot is not None:
        draw(cells, plot)


def kept() -> dict[str, dict[str, Cell]]:
    """The cells that were measured before, by processor."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def timed(folder: Path, side: str, seed: int, whole: bool, mnist_root: Path | None) -> Cell:
    """One run: seconds and accuracy of each epoch, and what its best checkpoint reads."""
    root = ["--mnist-root", str(mnist_root)] if mnist_root else []
    with TemporaryDirectory() as runs:
        out = f"{runs}/run.pt"
        words = ["train", *SIDES[side], "--data", "mnist", *root]
        begun = time.perf_counter()
        epochs: list[tuple[float, float]] = []
        with digitsum(folder, [*words, "--seed", str(seed), "--out", out]) as run:
            assert run.stderr is not None
            for line in run.stderr:
                if found := EPOCH.match(line):
                    epochs.append((round(time.perf_counter() - begun, 1), float(found[2])))
                    print(f"  {epochs[-1]}", flush=True)
                    if epochs[-1][1] >= RESNET_EXACT and not whole:
                        run.terminate()
                        break
        passed = [seconds for seconds, exact in epochs if exact >= RESNET_EXACT]
        cell: Cell = {"seconds": passed[0] if passed else None, "epochs": epochs}
        if whole:
            cell["end"] = round(time.perf_counter() - begun, 1)
            with digitsum(folder, ["eval", out, "--data", "mnist-test", *root, "--json"]) as scored:
                assert scored.stdout is not None
                cell["mnist-test"] = exact_accuracy(json.load(scored.stdout))
        return {**cell, "on": machine()}


def digitsum(folder: Path, words: list[str]) -> subprocess.Popen[str]:
    """The command of the digitsum that lies in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "digitsum", *words], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE if words[0] == "train" else None,
    )  # fmt: skip


def exact_accuracy(found: Any) -> float:
    """Exact-match accuracy in what `eval --json` prints."""
    return float(next(iter(found["splits"].values()))["exact_accuracy"])


def summarize(cells: dict[str, Cell]) -> None:
    """Shows a row for each side, and the median of its ratio to the reader before, seed by seed."""
    rows = []
    for side in SIDES:
        own = {k: cell["seconds"] for k, cell in of_side(cells, side) if cell["seconds"]}
        if not own:
            continue
        values = list(own.values())
        pairs = [
            seconds / cells[other]["seconds"]
            for key, seconds in own.items()
            if (other := key.replace(side, BEFORE)) in cells
        ]
        rows.append(
            {
                "side": side,
                "runs": len(values),
                "median, s": statistics.median(values),
                "range, s": f"{min(values):.0f} to {max(values):.0f}",
                "of before": statistics.median(pairs) if pairs else "",
            }
        )
    if rows:
        show(f"seconds to {RESNET_EXACT}% of the validation strips of mnist", rows)
    for side in SIDES:
        if whole := [cell for _, cell in of_side(cells, side, ", whole")]:
            print(
                f"{side}, to the end, runs: {len(whole)}; "
                f"{statistics.mean(cell['mnist-test'] for cell in whole):.2f}% of mnist-test, "
                f"{statistics.median(cell['end'] for cell in whole):.0f} s"
            )


def draw(cells: dict[str, Cell], path: Path) -> None:
    """Accuracy against seconds, a line for each run."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with plt.style.context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
        for side, (label, colour) in LINES.items():
            runs = [c for whole in ("", ", whole") for _, c in of_side(cells, side, whole)]
            for number, run in enumerate(runs):
                seconds, exact = zip(*run["epochs"], strict=True)
                named = label if not number else None
                axes.plot(seconds, exact, ".-", color=colour, linewidth=1.2, label=named)
        axes.axhline(RESNET_EXACT, color="0.5", linewidth=0.8, linestyle="--")
        place: dict[str, Any] = {"ha": "center", "va": "bottom"}
        place["transform"] = axes.get_yaxis_transform()
        axes.text(0.6, RESNET_EXACT, "the report's pretrained ResNet-50", **place)
        axes.set(xlabel="seconds from the start of the command", ylim=(0, 100), xlim=(0, None))
        axes.set(ylabel="exact-match % of validation")
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def of_side(cells: dict[str, Cell], side: str, whole: str = "") -> Iterator[tuple[str, Cell]]:
    """The runs of a side, those that were stopped when they had passed or those that were not."""
    return ((k, c) for k, c in cells.items() if re.fullmatch(rf"{side}, seed \d+{whole}", k))


if __name__ == "__main__":
    typer.run(measure)
