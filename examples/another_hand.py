"""Another hand: the bundled weights learn digits that are only outlined, from sums alone.

Usage: python examples/another_hand.py [OUT.pt]

The outlines of scikit-learn's digits stand in for your hand. With strips of your own, all that you
need is `digitsum.adapt(strips, out="mine.pt")`, or `digitsum adapt FOLDER --out mine.pt`.
"""

import sys
from pathlib import Path

from scipy.ndimage import minimum_filter

import digitsum
from digitsum.datasets.digits import Digits, load_digits


def outlines(digits: Digits) -> Digits:
    """The same digits without the inside of their strokes."""
    inside = minimum_filter(digits.images, size=(1, 3, 3))
    return Digits(digits.images - inside, digits.labels)


def main(out: Path, strips: int = 200, epochs: int = 15) -> float:
    """Adapts the weights, writes them to `out`; gives the points gained on other digits."""
    known = load_digits("builtin")
    first, others = slice(400), slice(400, None)
    mine = outlines(Digits(known.images[first], known.labels[first]))
    learnt_from = digitsum.compose(mine, strips, seed=1).as_strips("mine")
    print(digitsum.adapt(learnt_from, out=out, epochs=epochs))

    unseen = outlines(Digits(known.images[others], known.labels[others]))
    strips_to_read = digitsum.compose(unseen, 400, seed=2).as_strips("unseen")
    models = [digitsum.load("reader"), digitsum.load(out)]
    compared = digitsum.compare(models, strips_to_read)
    print(compared)
    return compared.pair(1, 0).difference


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "another-hand.pt"))
