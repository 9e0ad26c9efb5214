"""Reads digits that nobody labelled: trains on sums alone, then shows single digits.

Usage: python examples/read_digits.py [FOLDER] [EPOCHS]

Strips of two of scikit-learn's digits, whose only label is their sum. Few epochs show that it runs;
the default shows digits.
"""

import sys
from pathlib import Path

import digitsum
from digitsum.datasets import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose
from digitsum.progress import EpochRecord


def main(folder: Path, epochs: int = 10, strips: int = 6000) -> float:
    """Trains a reader in `folder`; gives the share of digits that it reads right, in %."""
    made = compose(load_digits("builtin"), strips, per_strip=(2, 2), seed=1)
    data = StripSet(["made"], [made.images], made.sums)  # no truth in it
    recipe = digitsum.Recipe.from_dict({"arch": "reader", "epochs": epochs, "digits_per_strip": 2})
    digitsum.train(recipe, data, folder / "reader.pt", show)

    new = compose(load_digits("builtin"), 200, per_strip=(2, 2), seed=2)
    readings = digitsum.load(folder / "reader.pt").read(new.images, 2)
    right = readings.digits == new.truth.digits
    for i in range(5):
        there, read = new.truth.digits[i].tolist(), readings.digits[i].tolist()
        print(f"digits {there}, read {read}, {100 * readings.confidence[i]:.0f}% sure of the sum")
    print(f"{100 * right.mean():.1f}% of {right.size} digits right; no digit ever had a label")
    return float(100 * right.mean())


def show(event: object) -> None:
    """Prints a line an epoch."""
    if isinstance(event, EpochRecord):
        print(f"epoch {event.epoch}: {event.val_exact_accuracy:.1f}% of validation sums exact")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    main(Path(given.get(1, ".")), int(given.get(2, 10)))
