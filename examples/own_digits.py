"""Your own digits: a folder of single digits, strips composed from them, predictions.

Usage: python examples/own_digits.py [FOLDER]

Here scikit-learn's digits stand in for yours: images of 28 x 28 pixels, light on black, each with
a label, so that strips of known sums can be composed.
"""

import sys
from pathlib import Path

import numpy as np

import digitsum
from digitsum.datasets.digits import load_digits


def main(folder: Path) -> float:
    """Saves digits in `folder`, composes strips; gives the exact-match accuracy in percent."""
    mine = load_digits("builtin")
    (folder / "digits").mkdir(parents=True, exist_ok=True)
    np.save(folder / "digits" / "digits.npy", mine.images)  # (M, 28, 28) uint8
    np.save(folder / "digits" / "labels.npy", mine.labels)  # (M,) 0..9

    # files like those of: digitsum synth strips --digits FOLDER/digits --per-strip 1-3
    made = digitsum.compose(str(folder / "digits"), 300, per_strip=(1, 3), seed=5)
    predictions = digitsum.load("reader").predict(made.images, digits_per_strip="any")
    exact = 100 * float((predictions.sum == made.sums).mean())
    print(f"exact-match accuracy on {len(made.sums)} strips of one to three digits: {exact:.1f}%")
    return exact


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
