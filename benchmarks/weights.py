"""Trains the weights that ship, `digitsum/weights/reader.pt`, and measures them.

Usage: python benchmarks/weights.py START.pt [--mnist-root FOLDER]    (make weights does it all)

START is a reader's checkpoint, trained on the strips of `mnist`, or this script's own from an
earlier round with another --seed. From there the weights learn from
other compositions of the same MNIST training digits, and of three quarters of scikit-learn's
digits: from their sums, and from knowing that each strip holds four. More than half of these strips
are drawn from digits that were turned, scaled, sheared and shifted, half of these with a thinner or
thicker pen; many strips are blurred, darkened or brightened, so that the reader knows digits and
not the pixels of one data set. In training all are warped, as the recipe has it.

The figures are on strips of digits that nothing here learnt from: MNIST's test digits, and the
last 450 of scikit-learn's.
"""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch.nn import functional as F

from digitsum import checkpoint as checkpoints
from digitsum import evaluation, training
from digitsum.cli import options
from digitsum.cli.show import run_shown
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.synthesis import compose
from digitsum.inference import load_model
from digitsum.recipe import Recipe

HELD_OUT = 450  # of scikit-learn's 1,797 digits, the last ones
# digits, strips, whether digits and strips are varied; the strips of each have a seed of their own
PARTS = [("mnist", 24_000, False), ("mnist", 20_000, True)]
PARTS += [("builtin", 2_000, False), ("builtin", 24_000, True)]
SHIPPED = Path(__file__).parents[1] / "digitsum" / "weights" / "reader.pt"
RESULTS = Path(__file__).parent / "results" / "weights.json"


def make(
    start: Annotated[str, typer.Argument(help="A reader's checkpoint to start from, or none.")],
    mnist_root: options.MnistRoot = None,
    epochs: int = 4,
    lr: float = 0.001,
    seed: Annotated[int, typer.Option(help="Synthesis seed of the first part.")] = 100,
    precision: options.Precision = "auto",
    run: Annotated[Path, typer.Option(help="Checkpoint of this run.")] = Path("weights.pt"),
) -> None:
    """Trains, ships, measures."""
    recipe = Recipe.from_dict(
        {
            "arch": "reader",
            "epochs": epochs,
            "lr": lr,
            "precision": precision,
            "weights": start,
            "guide": 0.0,
        }
    )
    strips = strips_to_learn_from(seed, mnist_root)
    run_shown(run, lambda report: training.train(recipe, strips, run, report))
    ship(run)
    measure(mnist_root, seed)


def ship(run: Path) -> None:
    """Writes the best weights of a run into the package, without what only that run needs."""
    kept = checkpoints.load(run)
    none = torch.zeros(0, dtype=torch.int32)
    split = {"seed": kept.split["seed"], "train": none, "val": none}
    recipe = {**kept.recipe, "weights": "none", "device": "auto", "precision": "auto"}
    SHIPPED.parent.mkdir(exist_ok=True)
    checkpoints.save(replace(kept, recipe=recipe, split=split), SHIPPED)


def measure(mnist_root: Path | None, seed: int) -> None:
    """Scores the shipped weights on digits that they did not learn from."""
    model = load_model(SHIPPED)
    test = open_data(["mnist-test"], None, mnist_root)
    soft = StripSet(["mnist-test, softened"], [soften(test.images(), 1.1)], test.sums, test.truth)
    held_out = compose(scikit_digits(held_out=True), 10_000, seed=1)
    other = StripSet(["scikit-learn, held out"], [held_out.images], held_out.sums)
    other.truth = lambda: held_out.truth.digits
    scores = {}
    for strips in (test, soft, other):
        (scores[strips.name[0]],) = evaluation.evaluate(model, strips).splits.values()
        print(strips.name[0], scores[strips.name[0]])
    document = {
        "parameters": model.parameters,
        "bytes": SHIPPED.stat().st_size,
        "recipe": model.checkpoint.recipe,
        "data": model.checkpoint.data,
        "strips": [[*part, seed] for seed, part in enumerate(PARTS, seed)],
        "versions": {**model.checkpoint.versions, "platform": platform.machine()},
        "history": model.checkpoint.history,
        "metrics": {name: metrics.to_dict() for name, metrics in scores.items()},
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def strips_to_learn_from(first_seed: int, mnist_root: Path | None) -> StripSet:
    """All parts as one set: strips and sums, nothing else."""
    images, sums = [], []
    for seed, (source, count, varied) in enumerate(PARTS, first_seed):
        digits = load_digits("mnist", mnist_root) if source == "mnist" else scikit_digits(False)
        rng = np.random.default_rng(seed)
        made = compose(vary_digits(digits, rng) if varied else digits, count, seed=seed)
        images.append(vary_strips(made.images, rng) if varied else made.images)
        sums.append(made.sums)
    return StripSet(["benchmarks/weights.py"], [np.concatenate(images)], np.concatenate(sums))


def scikit_digits(held_out: bool) -> Digits:
    """The last 450 of scikit-learn's digits, or all others."""
    digits = load_digits("builtin")
    part = slice(-HELD_OUT, None) if held_out else slice(-HELD_OUT)
    return Digits(digits.images[part], digits.labels[part])


def vary_digits(digits: Digits, rng: np.random.Generator) -> Digits:
    """Each digit turned by up to 15 degrees, scaled, sheared and shifted; few digits 16 times."""
    times = 1 if len(digits.images) > 10_000 else 16
    images, labels = np.tile(digits.images, (times, 1, 1)), np.tile(digits.labels, times)
    count = len(images)
    turn, shear = np.deg2rad(rng.uniform(-15, 15, count)), rng.uniform(-0.2, 0.2, count)
    wide, high = rng.uniform(0.85, 1.15, (2, count))
    shift = rng.uniform(-1.0, 1.0, (count, 2)) * 2 / 28  # in halves of the image
    matrix = np.stack(
        [
            np.stack([wide * np.cos(turn), shear - np.sin(turn), shift[:, 0]], 1),
            np.stack([np.sin(turn), high * np.cos(turn), shift[:, 1]], 1),
        ],
        1,
    )
    moved = []
    for rows in np.array_split(np.arange(count), max(1, count // 5000)):
        pixels = torch.from_numpy(images[rows]).float()[:, None]
        grid = F.affine_grid(torch.from_numpy(matrix[rows]).float(), list(pixels.shape), False)
        sampled = F.grid_sample(pixels, grid, "bilinear", align_corners=False)
        moved.append(_other_pen(sampled, rng)[:, 0].round())
    return Digits(torch.cat(moved).to(torch.uint8).numpy(), labels)


def _other_pen(digits: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Every second digit of (N, 1, 28, 28) thinner or thicker: blurred, then cut off elsewhere."""
    row = torch.tensor([0.25, 0.5, 0.25])
    soft = F.conv2d(digits[::2], torch.outer(row, row)[None, None], padding=1) / 255
    cut = torch.from_numpy(rng.uniform(0.25, 0.65, len(soft))).float()[:, None, None, None]
    digits[::2] = 255 * ((soft - cut) / 0.4 + 0.5).clamp(0, 1)
    return digits


def vary_strips(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A third blurred, and all made 0.75 to 1.25 times as bright."""
    varied = images.copy()
    for row in range(len(varied)):
        brightness = rng.uniform(0.75, 1.25)
        if rng.random() < 1 / 3:
            varied[row] = soften(varied[row : row + 1], brightness)[0]
        else:
            varied[row] = np.clip(np.rint(varied[row] * brightness), 0, 255)
    return varied


def soften(images: NDArray[np.uint8], brightness: float) -> NDArray[np.uint8]:
    """Strips (N, 40, W) blurred by the 3x3 binomial kernel, then brightened."""
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    blurred = images.astype(np.float32)
    for axis in (1, 2):
        blurred = convolve1d(blurred, kernel, axis=axis, mode="constant")
    return np.clip(np.rint(blurred * brightness), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    typer.run(make)
