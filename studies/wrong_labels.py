"""Label noise: a share of the training sums is replaced at random, for the reader and for cnn.

A replaced sum is that of another training strip, so that all sums stay about as common as they
were. Validation sums stay right, so that checkpoint selection does too. Runs are short but for one:
the recipe's full run on all strips, with the most wrong sums.

Usage: python studies/wrong_labels.py
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import typer
from study import ACCURACY, SHORT, Study, drawing, scored, trained

from digitsum.datasets import open_data
from digitsum.datasets.split import split_rows
from digitsum.datasets.strips import StripSet

SHARES = (0, 5, 10, 20, 40)  # percent
ARCHS = ("reader", "cnn")


def with_label_noise(data: StripSet, percent: int) -> StripSet:
    """The same strips, some of the training split with the sum of another one."""
    rows, rng = split_rows(len(data), 0).train, np.random.default_rng(percent)
    chosen = rng.choice(rows, len(rows) * percent // 100, replace=False)
    sums = data.sums.copy()
    sums[chosen] = data.sums[rng.choice(rows, len(chosen))]
    return StripSet([f"mnist, {percent}% of the training sums at random"], data.files, sums)


def study(precision: str = "auto") -> None:
    """Measures accuracy by the share of wrong training sums."""
    kept = Study("wrong_labels")
    data, test = open_data("mnist"), open_data("mnist-test")

    def run(name: str, percent: int, changes: dict[str, Any]) -> dict[str, Any]:
        name, strips = f"wrong_labels_{name}_{percent}", with_label_noise(data, percent)
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
    kept.show({"exact_accuracy": ACCURACY, "mae": "MAE", "string_accuracy": "string %"})
    with drawing("wrong_labels") as axes:
        for arch in ARCHS:
            exact = [kept.cells[f"{arch}, {p}% wrong"]["exact_accuracy"] for p in SHARES]
            axes.plot(SHARES, exact, marker="o", label=arch)
        axes.plot(most, whole["exact_accuracy"], "*", markersize=10, label="reader, full run")
        axes.set(xlabel="wrong training sums %", ylabel=ACCURACY, ylim=(0, 101))
        axes.legend(loc="center left")


if __name__ == "__main__":
    typer.run(study)
