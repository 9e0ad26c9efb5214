"""Data leakage: how much of a validation figure comes from digits that training had seen.

The technical report splits strips, so the same MNIST digits stand in training and in validation
strips. Here models are trained on strips of the first 50,000 training digits and scored on two
kinds of new strips: of these digits, and of the other 10,000. Both kinds come from the same
writers, and `mnist-test` does not.

Usage: python studies/leak.py [--resnet]
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer
from study import ACCURACY, SHORT, Study, drawing, scored, some, trained

from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose

KNOWN = 50_000  # digits that training strips are composed from, the first ones


def study(
    precision: str = "auto",
    resnet: Annotated[
        bool, typer.Option(help="Also train the ResNet from scratch, which takes a GPU.")
    ] = False,
) -> None:
    """Measures accuracy on strips of shared and of unseen digits."""
    kept, digits = Study("leak"), load_digits("mnist")
    known, others = some(digits, slice(KNOWN)), some(digits, slice(KNOWN, None))
    strips = compose(known, 30_000, seed=50).as_strips("mnist, the first 50,000 digits")
    new = {
        "shared": compose(known, 10_000, seed=51).as_strips("shared digits"),
        "unseen": compose(others, 10_000, seed=52).as_strips("unseen digits"),
    }

    def run(arch: str) -> dict[str, Any]:
        changes = {"arch": arch, **SHORT, **({"weights": "none"} if arch == "resnet" else {})}
        model = trained(f"leak_{arch}", changes, strips, precision)
        return {name: scored(model, data)["exact_accuracy"] for name, data in new.items()}

    archs = ["reader", "cnn", *(["resnet"] if resnet else [])]
    for arch in archs:
        cell = kept.cell(arch, partial(run, arch))
        print(f"{arch}: {cell['shared'] - cell['unseen']:+.2f} points from shared digits")
    kept.show(
        {"shared": f"shared digits, {ACCURACY}", "unseen": f"unseen digits, {ACCURACY}"},
    )
    with drawing("leak", width=4.5) as axes:
        for move, name in ((-0.2, "shared"), (0.2, "unseen")):
            heights = [kept.cells[arch][name] for arch in archs]
            bars = axes.bar([n + move for n in range(len(archs))], heights, 0.38, label=name)
            axes.bar_label(bars, fmt="%.1f")
        axes.set(xticks=range(len(archs)), xticklabels=archs, ylabel=ACCURACY, ylim=(0, 115))
        axes.legend(title="digits", loc="upper right")


if __name__ == "__main__":
    typer.run(study)
