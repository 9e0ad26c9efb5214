"""Your own strips: save them with their sums, train a model, predict new ones.

Usage: python examples/own_strips.py FOLDER [EPOCHS]

FOLDER holds, or gets, `data0.npy`, uint8 strips (N, 40, W) with light digits on black, and
`lab0.npy`, their sums (N,). Nobody has to say which digits stand in a strip.
"""

import sys
from pathlib import Path

import numpy as np

import digitsum


def my_strips(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stands in for yours: strips of two of scikit-learn's handwritten digits, and their sums."""
    made = digitsum.compose("builtin", count, per_strip=(2, 2), seed=seed)
    return made.images, made.sums


def main(folder: Path, epochs: int = 15) -> None:
    """Trains a model in `folder` and predicts five new strips."""
    if not (folder / "data0.npy").exists():
        images, sums = my_strips(3000, seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "data0.npy", images)
        np.save(folder / "lab0.npy", sums)

    checkpoint = folder / "cnn.pt"
    result = digitsum.train(
        folder, arch="cnn", epochs=epochs, out=checkpoint, overwrite=True, progress=True
    )
    print(result)

    images, sums = my_strips(5, seed=1)  # new strips of the same handwriting
    for prediction, true in zip(digitsum.load(checkpoint).predict(images), sums, strict=True):
        print(f"predicted {prediction}, true sum {true}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
