"""How much the figures depend on the seed: the reader's headline over five, the cnn's over three.

Usage: python benchmarks/studies/seeds.py [--readers 5] [--cnns 3]
"""

from __future__ import annotations

import statistics
from typing import Any

import typer
from study import Study, drawing, scored, trained

from digitsum.datasets import open_data


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
            **scored(model, test),
            "curve": [record["val_exact_accuracy"] for record in own.history],
        }

    for arch, count in (("reader", readers), ("cnn", cnns)):
        cells = [
            kept.cell(f"{arch}, seed {n}", lambda arch=arch, n=n: run(arch, n))  # type: ignore[misc]
            for n in range(count)
        ]
        for name in ("val", "exact_accuracy", "string_accuracy"):
            values = [cell[name] for cell in cells if name in cell]
            if len(values) > 1:
                mean, sd = statistics.mean(values), statistics.stdev(values)
                print(f"{arch} {name}: {mean:.2f}, standard deviation {sd:.2f}")
    kept.show(
        {
            "epoch": "best epoch",
            "attempts": "attempts",
            "val": "validation, selected on, exact %",
            "exact_accuracy": "exact %",
            "string_accuracy": "all digits %",
        },
    )
    with drawing("seeds") as axes:
        for key, cell in kept.cells.items():
            if key.startswith("reader"):
                axes.plot(range(1, len(cell["curve"]) + 1), cell["curve"], label=key)
        axes.set(xlabel="epoch", ylabel="validation, exact %", ylim=(80, 100))
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
