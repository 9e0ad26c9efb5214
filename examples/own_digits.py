"""Brings digits of one's own: a folder of single digits, strips composed from them, read.

Usage: python examples/own_digits.py [FOLDER]

Here the digits are scikit-learn's, to stand for anything 28 x 28: light on
black, labelled once so that strips with sums can be made of them.
"""

import sys
from pathlib import Path

import numpy as np

import digitsum
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose, write


def main(folder: Path) -> float:
    """Lays the digits into `folder`, composes strips of them; gives the share read right, in %."""
    builtin = load_digits("builtin")
    (folder / "digits").mkdir(exist_ok=True)
    np.save(folder / "digits" / "digits.npy", builtin.images)  # (M, 28, 28) uint8
    np.save(folder / "digits" / "labels.npy", builtin.labels)  # (M,) 0..9
    # the same as: digitsum synth strips --digits FOLDER/digits --strips 300 --per-strip 1-3
    made = compose(load_digits(str(folder / "digits")), 300, per_strip=(1, 3), seed=5)
    write(made, folder / "strips", files=1)
    strips = digitsum.open_data([str(folder / "strips")])
    readings = digitsum.load("reader").read(strips.images())  # of how many digits, it finds out
    exact = 100 * float((readings.sum == strips.sums).mean())
    print(f"{exact:.1f}% of {len(strips)} sums of one to three digits right")
    return exact


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
