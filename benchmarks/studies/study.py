"""What the studies share: results kept as they come, trainings that go on where they stopped.

A study is a table of cells. Each is kept in its JSON as soon as it is measured, and not measured
again; so a study that was stopped goes on, and a finished one only shows its table and draws its
figure again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))
from measuring import RESULTS, machine, put, show

from digitsum.checkpoint import locate
from digitsum.cli.memory import keep_freed
from digitsum.cli.show import run_shown
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.synthesis import Composition, compose
from digitsum.evaluation import evaluate
from digitsum.inference import LoadedModel, load_model
from digitsum.outputs import last_path, whole_file
from digitsum.recipe import Recipe
from digitsum.resuming import StoppedRun
from digitsum.training import resume, train

RUNS = Path(__file__).parent / "runs"
PAGE = Path(__file__).parents[2] / "docs" / "results.md"
PICTURES = PAGE.with_suffix("")
SHORT = {"epochs": 8, "limit": 12_000}  # where curves are compared

Cell = dict[str, Any]


class Study:
    """The cells of a study, in `benchmarks/results/study_NAME.json`.

    They stand in the order in which the study asks for them, whenever each was measured; those that
    it does not ask for this time come last.
    """

    def __init__(self, name: str) -> None:
        self.name, self.path = name, RESULTS / f"study_{name}.json"
        self.cells: dict[str, Cell] = {}
        self.asked: list[str] = []
        if self.path.exists():
            self.cells = json.loads(self.path.read_text())["cells"]

    def cell(
        self, key: str, measure: Callable[[], Mapping[str, Any]], of: str | None = None
    ) -> Cell:
        """A cell, measured if it is not there yet, or is there of other weights than `of`."""
        missing = key not in self.cells or self.cells[key].get("of") != of
        if missing:
            print(f"{self.name}: {key}", flush=True)
            whose = {} if of is None else {"of": of}
            self.cells[key] = {**measure(), **whose, "on": machine()["processor"]}
        self.asked.append(key)
        self.cells = {name: self.cells[name] for name in self.asked} | self.cells
        if missing:
            with whole_file(self.path) as stream:
                stream.write((json.dumps({"cells": self.cells}, indent=1) + "\n").encode())
        return self.cells[key]

    def show(self, names: Mapping[str, str]) -> None:
        """Prints the table and puts it into `docs/results.md`, between the marks of this study.

        Args:
            names: The columns, key of a cell: heading. A row is a cell.
        """
        rows = []
        for key, cell in self.cells.items():
            row: dict[str, object] = {"": key}
            row |= {heading: cell.get(name, "") for name, heading in names.items()}
            rows.append(row)
        show(self.name, rows)
        lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
        for row in rows:
            cells = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
            lines.append("| " + " | ".join(cells) + " |")
        put(PAGE, self.name, "\n".join(["", *lines, ""]))


def fingerprint(model: str = "reader") -> str:
    """Twelve digits by which weights are told from others; by default those that ship."""
    return hashlib.sha256(locate(model).read_bytes()).hexdigest()[:12]


def trained(
    name: str, changes: Mapping[str, Any], data: StripSet, precision: str = "auto"
) -> LoadedModel:
    """The best weights of a run, trained, or gone on with, where it is not finished.

    Args:
        name: Of its checkpoint among `RUNS`.
        changes: What differs from the architecture's recipe; `arch` at the least.
        data: Strips and sums.
        precision: To train in.
    """
    keep_freed()  # as the program does
    path = RUNS / f"{name}.pt"
    path.parent.mkdir(exist_ok=True)
    recipe = Recipe.from_dict({"precision": precision, **changes})
    if not last_path(path).exists():
        run_shown(path, lambda report: train(recipe, data, path, report))
    stopped = StoppedRun.open(last_path(path), {}, None)
    if not stopped.finished:
        run_shown(path, lambda report: resume(stopped, data, report), resumed=True)
    return load_model(path)


def scored(model: LoadedModel, data: StripSet) -> dict[str, float]:
    """Metrics of a model on strips that are not its run's own."""
    return evaluate(model, data).splits["data"].to_dict()


def strips_of(made: Composition, name: str) -> StripSet:
    """Composed strips as data, with their truth for evaluation."""
    return StripSet([name], [made.images], made.sums, lambda: made.truth.digits)


def unseen(count: int, per_strip: int, seed: int) -> Composition:
    """Strips of MNIST's test digits."""
    return compose(load_digits("mnist-test"), count, (per_strip, per_strip), seed=seed)


def some(digits: Digits, rows: slice | NDArray[np.int64]) -> Digits:
    """A part of single digits."""
    return Digits(digits.images[rows], digits.labels[rows])


@contextmanager
def drawing(name: str, width: float = 6.0, height: float = 3.2, panels: int = 1) -> Iterator[Any]:
    """Axes of a figure that goes to `docs/results/NAME.png`; with more panels an array of them."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with plt.style.context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure, axes = plt.subplots(1, panels, figsize=(width, height), layout="constrained")
        yield axes
        PICTURES.mkdir(exist_ok=True)
        figure.savefig(PICTURES / f"{name}.png", dpi=110)
        plt.close(figure)
    print(f"wrote {PICTURES / name}.png")


def misread_axis(axes: Any) -> None:
    """Makes the upright axis one of misread strips, where 97 and 98% exact can be told apart."""
    ticks = (2, 5, 10, 20, 50, 100)
    axes.set(yscale="log", ylabel="misread %")
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
