"""What wrong labels cost: a share of the training sums replaced at random, reader beside cnn.

A replaced sum is that of another training strip, so that sums stay as common as they were.
Validation sums stay right, and so does the choice of the best epoch. Runs are short, but for one:
the recipe's own on all strips, with the most wrong sums.

Usage: python benchmarks/studies/wrong_labels.py
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import typer
from study import SHORT, Study, drawing, scored, trained

from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.split import split_rows

SHARES = (0, 5, 10, 20, 40)  # percent
ARCHS = ("reader", "cnn")


def spoilt(data: StripSet, percent: int) -> StripSet:
    """The same strips; of the training part some have the sum of another one."""
    rows, rng = split_rows(len(data), 0).train, np.random.default_rng(percent)
    chosen = rng.choice(rows, len(rows) * percent // 100, replace=False)
    sums = data.sums.copy()
    sums[chosen] = data.sums[rng.choice(rows, len(chosen))]
    return StripSet([f"mnist, {percent}% of the training sums at random"], data.parts, sums)


def study(precision: str = "auto") -> None:
    kept = Study("wrong_labels")
    data, test = open_data("mnist"), open_data("mnist-test")

    def run(name: str, percent: int, changes: dict[str, Any]) -> dict[str, Any]:
        name, strips = f"wrong_labels_{name}_{percent}", spoilt(data, percent)
        return scored(trained(name, changes, strips, precision), test)

    for percent in SHARES:
        for arch in ARCHS:
            kept.cell(
                f"{arch}, {percent}% wrong", partial(run, arch, percent, {"arch": arch, **SHORT})
            )
    most = SHARES[-1]
    whole = kept.cell(
        f"reader, {most}% wrong, 24,000 strips, 16 epochs",
        partial(run, "whole", most, {"arch": "reader"}),
    )
    kept.show(
        {"exact_accuracy": "exact %", "mae": "MAE", "string_accuracy": "all digits %"},
    )
    with drawing("wrong_labels") as axes:
        for arch in ARCHS:
            exact = [kept.cells[f"{arch}, {p}% wrong"]["exact_accuracy"] for p in SHARES]
            axes.plot(SHARES, exact, marker="o", label=arch)
        axes.plot(most, whole["exact_accuracy"], "*", markersize=10, label="reader, a whole run")
        axes.set(xlabel="training sums that are wrong %", ylabel="exact %", ylim=(0, 101))
        axes.legend(loc="center left")


if __name__ == "__main__":
    typer.run(study)
