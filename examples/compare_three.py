"""Trains the three architectures on the same strips and compares them.

Usage: python examples/compare_three.py [FOLDER] [EPOCHS]

ResNet-50 starts from random weights here (`weights: none`), so that nothing is downloaded; with
ImageNet weights it is far more accurate. Few epochs show that it runs, not which model is best.
"""

import sys
from pathlib import Path

import digitsum
from digitsum.evaluation.comparison import Comparison

OPTIONS = {"cnn": {}, "resnet": {"weights": "none"}, "reader": {}}


def main(folder: Path, epochs: int = 8, strips: int = 3000, limit: int | None = None) -> Comparison:
    """Trains all three in `folder`, with at most `limit` training strips, and compares them."""
    data = digitsum.compose("builtin", strips, seed=1).as_strips("made")
    models = []
    for arch, options in OPTIONS.items():
        recipe = digitsum.Recipe(arch, epochs=epochs, limit=limit, **options)
        result = digitsum.train(
            data, recipe, out=folder / f"{arch}.pt", overwrite=True, progress=True
        )
        models.append(digitsum.load(result.path))
    comparison = digitsum.compare(models, data)  # on the validation strips, which none trained on
    print(comparison)
    return comparison


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."), *map(int, sys.argv[2:3]))
