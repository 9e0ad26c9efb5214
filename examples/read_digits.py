"""Predicts digits that nobody labelled: trains on sums alone, then shows single digits.

Usage: python examples/read_digits.py [FOLDER] [EPOCHS]

The strips hold two of scikit-learn's digits each, and their only label is their sum. The default
number of epochs is enough for the digits to appear; with fewer the example merely runs.
"""

import sys
from pathlib import Path

import numpy as np

import digitsum


def main(folder: Path, epochs: int = 10, strips: int = 6000) -> float:
    """Trains a reader in `folder`; gives the digit accuracy on new strips in percent."""
    made = digitsum.compose("builtin", strips, per_strip=(2, 2), seed=1)
    data = digitsum.StripSet.from_arrays(made.images, made.sums)  # the digits are not in it
    checkpoint = folder / "reader.pt"
    recipe = digitsum.Recipe(arch="reader", epochs=epochs, digits_per_strip=2)
    digitsum.train(data, recipe, out=checkpoint, overwrite=True, progress=True)

    new = digitsum.compose("builtin", 200, per_strip=(2, 2), seed=2)
    predictions = digitsum.load(checkpoint).predict(new.images)
    for prediction, true in zip(predictions[:5], new.truth.digits[:5], strict=True):
        print(f"predicted {prediction}; the digits are {true[0]} and {true[1]}")
    accuracy = 100 * float(np.mean(predictions.digits == new.truth.digits))
    print(f"digit accuracy on new strips: {accuracy:.1f}%; no digit ever had a label")
    return accuracy


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."), *map(int, sys.argv[2:3]))
