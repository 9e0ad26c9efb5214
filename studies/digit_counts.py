"""Strips of 1 to 12 digits, predicted by readers that were trained on other numbers of digits.

One reader has the bundled weights, trained on strips of four digits. The other is trained on sums
of 1 to 8 digits, and the number of digits is not known to it (`digits_per_strip: null`).

Usage: python studies/digit_counts.py [--no-train]
"""

from __future__ import annotations

from functools import cache, partial
from typing import Annotated, Any

import typer
from study import ACCURACY, SHORT, Study, drawing, fingerprint, trained, unseen

from digitsum.datasets.synthesis import compose
from digitsum.evaluation.metrics import score, score_digits
from digitsum.inference import LoadedModel, load_model

STRIPS = 2_000  # for each number of digits
MOST = 12


def measured(model: LoadedModel, count: int, known: bool) -> dict[str, Any]:
    """Scores on strips of `count` digits, whose number is known to the model or not."""
    made = unseen(STRIPS, count, seed=300 + count)
    predictions = model.predict(made.images, count if known else "any")
    metrics = score(predictions.value, predictions.sum, made.sums)
    assert predictions.digits is not None
    return score_digits(metrics, predictions.digits, made.truth.digits).to_dict()


def study(
    train: Annotated[
        bool, typer.Option(help="Train the second reader where it is missing.")
    ] = True,
    precision: str = "auto",
) -> None:
    """Measures accuracy on strips of 1 to 12 digits."""
    kept = Study("digit_counts")
    bundled, own = load_model("reader", precision="fp32"), fingerprint()
    for known in (True, False):
        said = "known" if known else "unknown"
        for count in range(1, MOST + 1):
            kept.cell(
                f"trained on 4, count {said}: {count}",
                partial(measured, bundled, count, known),
                own,
            )

    @cache
    def other() -> LoadedModel:
        strips = compose("mnist", 15_000, (1, 8), seed=40).as_strips("mnist, 1 to 8 digits")
        changes = {"arch": "reader", "digits_per_strip": None, **SHORT}
        return trained("digit_counts", changes, strips, precision)

    for count in range(1, MOST + 1) if train else ():
        key = f"trained on 1 to 8, count unknown: {count}"
        kept.cell(key, lambda n=count: measured(other(), n, False))  # type: ignore[misc]
    kept.show(
        {"exact_accuracy": ACCURACY, "string_accuracy": "string %", "digit_accuracy": "digit %"}
    )
    draw(kept)


def draw(kept: Study) -> None:
    """Draws exact-match accuracy by number of digits, beside accuracy^digits."""
    lines: dict[str, dict[int, float]] = {}
    for key, cell in kept.cells.items():
        who, _, count = key.partition(": ")
        lines.setdefault(who, {})[int(count)] = cell["exact_accuracy"]
    with drawing("digit_counts") as axes:
        for who, line in lines.items():
            axes.plot(list(line), list(line.values()), marker="o", markersize=3, label=who)
        one = lines["trained on 4, count known"][4] ** 0.25 * 100**0.75 / 100
        counts = range(1, MOST + 1)
        axes.plot(counts, [100 * one**n for n in counts], "k:", label="accuracy^digits, from 4")
        axes.set(xlabel="digits in a strip", ylabel=ACCURACY, xticks=counts)
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
