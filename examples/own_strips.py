"""Your own strips, from Python: save them with their sums, train, read new ones.

    python examples/own_strips.py FOLDER [EPOCHS]

FOLDER holds, or gets, `data0.npy`, uint8 strips (N, 40, W) with light digits on black, and
`lab0.npy`, their sums (N,). Nobody has to say which digits stand in a strip.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import digitsum
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose


def my_strips(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stands in for yours: strips of two digits from scikit-learn's handwriting."""
    made = compose(load_digits("builtin"), count, per_strip=(2, 2), seed=seed)
    return made.images, made.sums


def main(folder: Path, epochs: int = 15) -> None:
    if not (folder / "data0.npy").exists():
        images, sums = my_strips(3000, seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "data0.npy", images)
        np.save(folder / "lab0.npy", sums)

    strips = digitsum.open_data([str(folder)])
    recipe = digitsum.Recipe.from_dict({"arch": "cnn", "epochs": epochs})
    result = digitsum.train(recipe, strips, folder / "cnn.pt", report=print)
    print(f"epoch {result.best.epoch} was best: {result.best.val.mae:.2f} off on validation strips")

    model = digitsum.load(folder / "cnn.pt")
    images, sums = my_strips(5, seed=1)  # new strips of the same handwriting
    readings = model.read(images)
    for value, read, true in zip(readings.value, readings.sum, sums, strict=True):
        print(f"estimate {value:5.2f}   sum read {read:2}   true {true:2}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(argument) for argument in sys.argv[2:3]))
