"""What the studies share: cells that are kept as they come, and trainings that resume.

A study is a table of cells. Each cell is written into the study's JSON file as soon as it is
measured, and is not measured again. So a study that was stopped resumes where it stopped, and a
finished one only shows its table and draws its figure again.
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

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from measuring import processor, put, show

from digitsum import LoadedModel, StripSet, compose, evaluate, load, resume, train
from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path, locate_checkpoint
from digitsum.cli.display import run_shown
from digitsum.cli.malloc import keep_freed
from digitsum.datasets.digits import Digits
from digitsum.datasets.synthesis import Composition
from digitsum.files import whole_file

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parent / "runs"
PAGE = Path(__file__).parents[1] / "docs" / "studies.md"
PICTURES = PAGE.with_name("results")
# the reader's recipe when the studies began; what they compare would not be alike otherwise
READER = {
    "size": "base", "epochs": 16, "batch_size": 64, "lr": 0.002,
    "ema_decay": 0.998, "guide": 0.1667,
}  # fmt: skip
SHORT = {"epochs": 8, "limit": 12_000}  # where only differences matter
ACCURACY = "exact-match %"  # heading of columns and axes

Cell = dict[str, Any]


class Study:
    """The cells of a study, in `studies/results/study_NAME.json`.

    They stand in the order in which the study asks for them, whenever each was measured. Cells that
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
        """A cell, which is measured if it is missing.

        Args:
            key: Its row in the table.
            measure: Gives its content.
            of: Fingerprint of the weights that are measured; a cell of other weights is measured
                again.
        """
        missing = key not in self.cells or self.cells[key].get("of") != of
        if missing:
            print(f"{self.name}: {key}", flush=True)
            weights = {} if of is None else {"of": of}
            self.cells[key] = {**measure(), **weights, "on": processor()}
        self.asked.append(key)
        self.cells = {name: self.cells[name] for name in self.asked} | self.cells
        if missing:
            with whole_file(self.path) as stream:
                stream.write((json.dumps({"cells": self.cells}, indent=1) + "\n").encode())
        return self.cells[key]

    def show(self, headings: Mapping[str, str], cells: Mapping[str, Cell] | None = None) -> None:
        """Prints the table and puts it into `docs/studies.md`, between the marks of this study.

        Args:
            headings: The columns, as key of a cell: heading. Each row is a cell.
            cells: What is shown, if not the cells as they are: means over some of them, say.
        """
        rows = []
        for key, cell in (self.cells if cells is None else cells).items():
            row: dict[str, object] = {"": key}
            row |= {heading: cell.get(name, "") for name, heading in headings.items()}
            rows.append(row)
        show(self.name, rows)
        lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
        for row in rows:
            texts = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
            lines.append("| " + " | ".join(texts) + " |")
        put(PAGE, self.name, "\n".join(["", *lines, ""]))


def fingerprint(model: str = "reader") -> str:
    """Twelve digits that identify the weights of a checkpoint, by default the bundled ones."""
    return hashlib.sha256(locate_checkpoint(model).read_bytes()).hexdigest()[:12]


def trained(
    name: str, changes: Mapping[str, Any], data: StripSet, precision: str = "auto"
) -> LoadedModel:
    """The best weights of a run, which is trained or resumed where it is not finished.

    Args:
        name: Name of its checkpoint in `RUNS`.
        changes: What differs from the architecture's recipe, and from `READER`; `arch` at the
            least.
        data: Strips and sums.
        precision: Precision of the training.
    """
    keep_freed()  # as the program does
    path = RUNS / f"{name}.pt"
    path.parent.mkdir(exist_ok=True)
    own = READER if changes["arch"] == "reader" else {}
    last, keys = last_path(path), {"precision": precision, **own, **changes}
    if not last.exists():
        run_shown(
            path, lambda on_event: train(data, out=path, overwrite=True, on_event=on_event, **keys)
        )
    if "train" not in load_checkpoint(last).metrics:  # a run is scored when it is finished
        run_shown(path, lambda on_event: resume(last, data, on_event=on_event), resumed=True)
    return load(path)


def scored(model: LoadedModel, data: StripSet) -> dict[str, float]:
    """Metrics of a model on strips that are not those of its run."""
    return evaluate(model, data).splits["data"].to_dict()


def unseen(count: int, per_strip: int, seed: int) -> Composition:
    """Strips composed from MNIST's test digits."""
    return compose("mnist-test", count, (per_strip, per_strip), seed=seed)


def some(digits: Digits, rows: slice | NDArray[np.int64]) -> Digits:
    """Some of the single digits."""
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


def error_axis(axes: Any) -> None:
    """Makes the upright axis one of misread strips, on which 97 and 98% accuracy differ visibly."""
    ticks = (2, 5, 10, 20, 50, 100)
    axes.set(yscale="log", ylabel="misread strips %")
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
