"""How much the figures depend on the seed: the reader's headline over five, the cnn's over three.

Validation strips share MNIST digits with training strips, and some 8,000 of MNIST's 60,000 training
digits happen to stand in none of the 30,000 strips of `mnist`. Strips of these are of the same
hands, yet unseen: what a choice between recipes can be made on, where validation flatters and
`mnist-test` must not be asked.

Usage: python benchmarks/studies/seeds.py [--readers 5] [--cnns 3]
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import typer
from study import Study, drawing, misread_axis, scored, some, strips_of, trained

from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose


def spare(strips: StripSet) -> StripSet:
    """20,000 strips of the MNIST training digits that stand in none of the strips of `mnist`."""
    digits = load_digits("mnist")
    rng = np.random.default_rng(0)  # the choice of `compose`, again
    rng.integers(4, 5, len(strips))
    chosen = rng.integers(0, len(digits.images), (len(strips), 4))
    assert np.array_equal(digits.labels[chosen].sum(1), strips.sums)
    unused = np.setdiff1d(np.arange(len(digits.images)), chosen)
    return strips_of(compose(some(digits, unused), 20_000, seed=7), "spare digits")


def study(readers: int = 5, cnns: int = 3, precision: str = "auto") -> None:
    kept = Study("seeds")
    strips, test = open_data("mnist"), open_data("mnist-test")

    def run(arch: str, seed: int) -> dict[str, Any]:
        changes = {"arch": arch, "seed": seed}
        model = trained(f"seed{seed}_{arch}", changes, strips, precision)
        own = model.checkpoint
        return {
            "epoch": own.metrics["epoch"],
            "attempts": own.history[-1]["attempt"],
            "val": own.metrics["val"]["exact_accuracy"],
            "spare": scored(model, spare(strips))["exact_accuracy"],
            **scored(model, test),
            "curve": [record["val_exact_accuracy"] for record in own.history],
        }

    for arch, count in (("reader", readers), ("cnn", cnns)):
        cells = [
            kept.cell(f"{arch}, seed {n}", lambda arch=arch, n=n: run(arch, n))  # type: ignore[misc]
            for n in range(count)
        ]
        for name in ("val", "spare", "exact_accuracy", "string_accuracy"):
            values = [cell[name] for cell in cells if name in cell]
            if len(values) > 1:
                mean, sd = statistics.mean(values), statistics.stdev(values)
                print(f"{arch} {name}: {mean:.2f}, standard deviation {sd:.2f}")
    kept.show(
        {
            "epoch": "best epoch",
            "attempts": "attempts",
            "val": "validation, selected on, exact %",
            "spare": "spare digits, exact %",
            "exact_accuracy": "exact %",
            "string_accuracy": "all digits %",
        },
    )
    with drawing("seeds", width=8.0, panels=2) as panels:
        for axes, arch in zip(panels, ("reader", "cnn"), strict=True):
            for key, cell in kept.cells.items():
                if key.startswith(arch):
                    misread = [100 - exact for exact in cell["curve"]]
                    label = key.removeprefix(f"{arch}, ")
                    axes.plot(range(1, len(misread) + 1), misread, label=label)
            misread_axis(axes)
            axes.set(title=arch, xlabel="epoch", ylabel="validation, misread %", ylim=(1.4, 110))
            axes.legend()


if __name__ == "__main__":
    typer.run(study)
