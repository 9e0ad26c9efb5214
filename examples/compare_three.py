"""Trains the three architectures on the same strips and compares them.

Usage: python examples/compare_three.py [FOLDER] [EPOCHS]

ResNet-50 starts fresh here (`weights: none`), so that nothing is downloaded; with ImageNet weights
it does far better. Few epochs show that it runs, not who wins.
"""

import sys
from pathlib import Path

import digitsum
from digitsum.comparison import Comparison
from digitsum.datasets import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose

OPTIONS = {"cnn": {}, "resnet": {"weights": "none"}, "reader": {}}


def main(folder: Path, epochs: int = 8, strips: int = 3000, limit: int | None = None) -> Comparison:
    """Trains all three in `folder`; `limit` cuts the training part."""
    made = compose(load_digits("builtin"), strips, seed=1)
    data = StripSet(["made"], [made.images], made.sums, lambda: made.truth.digits)
    models = []
    for arch, own in OPTIONS.items():
        keys = {"arch": arch, "epochs": epochs, "limit": limit, **own}
        digitsum.train(digitsum.Recipe.from_dict(keys), data, folder / f"{arch}.pt")
        models.append(digitsum.load(folder / f"{arch}.pt"))
    result = digitsum.compare(models, data)  # on the validation strips, which none trained on
    for row in result.models:
        exact = row.metrics.exact_accuracy
        print(f"{row.arch:7} {row.parameters:>11,} parameters {exact:6.2f}% exact")
    for pair in result.pairs:
        print(f"{pair.a} - {pair.b}: {pair.difference:+.2f} points, p = {pair.p_value:.2g}")
    return result


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    main(Path(given.get(1, ".")), int(given.get(2, 8)))
