"""How much the figures depend on the random seed: five runs of the reader and three of cnn.

Validation strips share MNIST digits with training strips. Some 8,000 of MNIST's 60,000 training
digits happen to stand in none of the 30,000 strips of `mnist`. These held-out digits are of the
same writers, yet unseen. Recipes can be compared on strips of them, where validation is too
optimistic and `mnist-test` must stay untouched.

Usage: python studies/seeds.py [--readers 5] [--cnns 3]
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from study import ACCURACY, Study, drawing, error_axis, scored, some, trained

from digitsum.datasets import open_data
from digitsum.datasets.digits import load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose


def held_out(strips: StripSet) -> StripSet:
    """20,000 strips of the MNIST training digits that stand in none of the strips of `mnist`."""
    digits = load_digits("mnist")
    rng = np.random.default_rng(0)  # repeats the draws of `compose`
    rng.integers(4, 5, len(strips))
    chosen = rng.integers(0, len(digits.images), (len(strips), 4))
    assert np.array_equal(digits.labels[chosen].sum(1), strips.sums)
    unused = np.setdiff1d(np.arange(len(digits.images)), chosen)
    return compose(some(digits, unused), 20_000, seed=7).as_strips("held-out digits")


def study(
    readers: Annotated[int, typer.Option(help="Runs of the reader.")] = 5,
    cnns: Annotated[int, typer.Option(help="Runs of cnn.")] = 3,
    precision: str = "auto",
) -> None:
    """Measures accuracy over several random seeds."""
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
            "held_out": scored(model, held_out(strips))["exact_accuracy"],
            **scored(model, test),
            "curve": [record["val_exact_accuracy"] for record in own.history],
        }

    for arch, count in (("reader", readers), ("cnn", cnns)):
        cells = [kept.cell(f"{arch}, seed {n}", partial(run, arch, n)) for n in range(count)]
        for name in ("val", "held_out", "exact_accuracy", "string_accuracy"):
            values = [cell[name] for cell in cells if name in cell]
            if len(values) > 1:
                mean, sd = statistics.mean(values), statistics.stdev(values)
                print(f"{arch} {name}: {mean:.2f}, standard deviation {sd:.2f}")
    kept.show(
        {
            "epoch": "best epoch",
            "attempts": "attempts",
            "val": f"validation (used for checkpoint selection), {ACCURACY}",
            "held_out": f"held-out digits, {ACCURACY}",
            "exact_accuracy": f"mnist-test, {ACCURACY}",
            "string_accuracy": "mnist-test, string %",
        },
    )
    with drawing("seeds", width=8.0, panels=2) as panels:
        for axes, arch in zip(panels, ("reader", "cnn"), strict=True):
            for key, cell in kept.cells.items():
                if key.startswith(arch):
                    misread = [100 - exact for exact in cell["curve"]]
                    label = key.removeprefix(f"{arch}, ")
                    axes.plot(range(1, len(misread) + 1), misread, label=label)
            error_axis(axes)
            axes.set(
                title=arch, xlabel="epoch", ylabel="misread validation strips %", ylim=(1.4, 110)
            )
            axes.legend()


if __name__ == "__main__":
    typer.run(study)
