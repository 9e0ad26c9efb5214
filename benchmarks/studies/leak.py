"""How much of a validation figure comes from digits that training had seen.

The split of the technical report is of strips, so the same MNIST digits stand in training and in
validation strips. Here models learn from strips of the first 50,000 training digits and read two
kinds of new strips: of these digits, and of the other 10,000. Both come from the same
handwriting, which `mnist-test` does not.

Usage: python benchmarks/studies/leak.py [--resnet]
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from study import SHORT, Study, drawing, scored, some, strips_of, trained

from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose

KNOWN = 50_000  # digits that training strips are made of, the first


def study(
    precision: str = "auto",
    resnet: Annotated[bool, typer.Option(help="The ResNet too, from scratch: for a GPU.")] = False,
) -> None:
    kept, digits = Study("leak"), load_digits("mnist")
    known, others = some(digits, slice(KNOWN)), some(digits, slice(KNOWN, None))
    strips = strips_of(compose(known, 30_000, seed=50), "mnist, the first 50,000 digits")
    new = {
        "shared": strips_of(compose(known, 10_000, seed=51), "shared digits"),
        "unseen": strips_of(compose(others, 10_000, seed=52), "unseen digits"),
    }

    def run(arch: str) -> dict[str, Any]:
        changes = {"arch": arch, **SHORT, **({"weights": "none"} if arch == "resnet" else {})}
        model = trained(f"leak_{arch}", changes, strips, precision)
        return {name: scored(model, data)["exact_accuracy"] for name, data in new.items()}

    archs = ["reader", "cnn", *(["resnet"] if resnet else [])]
    for arch in archs:
        cell = kept.cell(arch, lambda a=arch: run(a))  # type: ignore[misc]
        print(f"{arch}: {cell['shared'] - cell['unseen']:+.2f} points from shared digits")
    kept.show(
        {"shared": "of shared digits, exact %", "unseen": "of unseen digits, exact %"},
    )
    with drawing("leak", width=4.5) as axes:
        for move, name in ((-0.2, "shared"), (0.2, "unseen")):
            heights = [kept.cells[arch][name] for arch in archs]
            bars = axes.bar([n + move for n in range(len(archs))], heights, 0.38, label=name)
            axes.bar_label(bars, fmt="%.1f")
        axes.set(xticks=range(len(archs)), xticklabels=archs, ylabel="exact %", ylim=(0, 115))
        axes.legend(title="digits", loc="upper right")


if __name__ == "__main__":
    typer.run(study)
