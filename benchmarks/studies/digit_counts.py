"""Strips of 1 to 12 digits, read by readers that learnt from others.

One is the weights that ship, trained on strips of four. The other learns from sums of 1 to 8
digits and is not told how many there are (`digits_per_strip: null`).

Usage: python benchmarks/studies/digit_counts.py [--no-train]
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import typer
from study import SHORT, Study, drawing, fingerprint, strips_of, trained, unseen

from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose
from digitsum.inference import LoadedModel, load_model
from digitsum.metrics import score, score_digits

STRIPS = 2_000  # of each number of digits
MOST = 12


def read(model: LoadedModel, count: int, known: bool) -> dict[str, Any]:
    """Scores strips of `count` digits, which the model is told or not."""
    made = unseen(STRIPS, count, seed=300 + count)
    readings = model.read(made.images, count if known else None)
    metrics = score(readings.value, readings.sum, made.sums)
    assert readings.digits is not None
    return score_digits(metrics, readings.digits, made.truth.digits).to_dict()


def study(
    train: Annotated[
        bool, typer.Option(help="Train the second reader where it is missing.")
    ] = True,
    precision: str = "auto",
) -> None:
    kept = Study("digit_counts")
    shipped, whose = load_model("reader", precision="fp32"), fingerprint()
    for known in (True, False):
        said = "told" if known else "not told"
        for count in range(1, MOST + 1):
            key = f"trained on 4, {said} how many: {count}"
            kept.cell(key, lambda k=known, n=count: read(shipped, n, k), whose)  # type: ignore[misc]

    @cache
    def other() -> LoadedModel:
        made = compose(load_digits("mnist"), 15_000, (1, 8), seed=40)
        strips = strips_of(made, "mnist, 1 to 8 digits")
        changes = {"arch": "reader", "digits_per_strip": None, **SHORT}
        return trained("digit_counts", changes, strips, precision)

    for count in range(1, MOST + 1) if train else ():
        key = f"trained on 1 to 8, count unknown: {count}"
        kept.cell(key, lambda n=count: read(other(), n, False))  # type: ignore[misc]
    kept.show(
        {
            "exact_accuracy": "exact %",
            "string_accuracy": "all digits %",
            "digit_accuracy": "digits %",
        },
    )
    draw(kept)


def draw(kept: Study) -> None:
    """Exact accuracy by number of digits, beside accuracy^digits."""
    lines: dict[str, dict[int, float]] = {}
    for key, cell in kept.cells.items():
        who, _, count = key.partition(": ")
        lines.setdefault(who, {})[int(count)] = cell["exact_accuracy"]
    with drawing("digit_counts") as axes:
        for who, line in lines.items():
            axes.plot(list(line), list(line.values()), marker="o", markersize=3, label=who)
        one = lines["trained on 4, told how many"][4] ** 0.25 * 100**0.75 / 100
        counts = range(1, MOST + 1)
        axes.plot(counts, [100 * one**n for n in counts], "k:", label="accuracy^digits, from 4")
        axes.set(xlabel="digits in a strip", ylabel="exact %", xticks=counts)
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
