"""Trains the bundled weights, `digitsum/weights/reader.pt`, and measures them.

Usage: python scripts/weights.py START.pt --round 1 [--mnist-root FOLDER]

`make weights` runs all rounds. START is a reader's checkpoint, trained on the strips of `mnist`,
and each round starts from the weights of the one before. The labels are sums, and it is known that
each strip holds four digits. The strips are other compositions of the same MNIST training digits,
and of three quarters of scikit-learn's digits.

Augmentation makes the reader know digits and not the pixels of one data set. Some strips are
composed from digits that were rotated, scaled, sheared and shifted, half of these with thinner or
thicker strokes. Many strips are blurred, darkened or brightened. In training all strips get elastic
distortion, as the recipe has it. The third round has less augmentation and more plain strips, and
the last two have more augmentation again. Their result is the mean of the weights before and after,
which keeps what either predicts well (Wortsman et al., 2022, "Robust fine-tuning of zero-shot
models").

The figures are on strips of held-out digits: MNIST's test digits, and the last 450 of
scikit-learn's.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch.nn import functional as F

from digitsum.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from digitsum.checkpoint_paths import bundled_path, locate_checkpoint
from digitsum.cli import options
from digitsum.cli.display import run_shown
from digitsum.cli.malloc import keep_freed
from digitsum.datasets import open_data
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import load_model, make_ready
from digitsum.training import train
from digitsum.training.adapting import mean_weights

HELD_OUT = 450  # of scikit-learn's 1,797 digits, the last ones


@dataclass(frozen=True)
class Component:
    """Strips of one kind in the mixture of a round."""

    source: str  # of their digits: mnist or builtin
    count: int
    augment_digits: bool
    augment_strips: bool


@dataclass(frozen=True)
class Round:
    """Which strips a round trains on, and for how long."""

    components: tuple[Component, ...]
    epochs: int
    lr: float
    seed: int  # for the strips of the first component; the next ones have the next seeds
    mean: bool = False  # whether the result is the mean of the weights before and after


WIDE = (
    Component("mnist", 24_000, False, False),
    Component("mnist", 20_000, True, True),
    Component("builtin", 2_000, False, False),
    Component("builtin", 24_000, True, True),
)
PLAIN = (
    Component("mnist", 72_000, False, False),
    Component("mnist", 10_000, False, True),
    Component("mnist", 6_000, True, True),
    Component("builtin", 12_000, True, True),
)
MIXED = (
    Component("mnist", 30_000, False, False),
    Component("mnist", 6_000, True, True),
    Component("builtin", 6_000, False, False),
    Component("builtin", 22_000, True, True),
)
ROUNDS = {
    1: Round(WIDE, epochs=4, lr=0.001, seed=100),
    2: Round(WIDE, epochs=8, lr=0.002, seed=200),
    3: Round(PLAIN, epochs=2, lr=0.001, seed=300),
    4: Round(MIXED, epochs=3, lr=0.001, seed=400, mean=True),
    5: Round(MIXED, epochs=2, lr=0.001, seed=500, mean=True),
}
BUNDLED = bundled_path("reader")
RESULTS = Path(__file__).parents[1] / "studies" / "results" / "weights.json"


def make(
    start: Annotated[str, typer.Argument(help="The reader's checkpoint to start from.")],
    number: Annotated[
        int, typer.Option("--round", min=1, max=len(ROUNDS), help="Number of the round.")
    ],
    mnist_root: options.MnistRoot = None,
    precision: options.PrecisionOfRun = None,
    run: Annotated[Path, typer.Option(help="Checkpoint of this run.")] = Path("weights.pt"),
) -> None:
    """Trains a round, bundles its weights, and measures them."""
    keep_freed()  # as the program does
    plan = ROUNDS[number]
    keys = {"arch": "reader", "weights": start, "guide": 0.0, "precision": precision or "auto"}
    keys |= {"epochs": plan.epochs, "lr": plan.lr, "batch_size": 64, "size": "base"}
    strips = training_strips(plan, mnist_root)
    run_shown(
        run, lambda on_event: train(strips, out=run, overwrite=True, on_event=on_event, **keys)
    )
    kept = load_checkpoint(run)
    if plan.mean:
        kept = mean_checkpoint(load_checkpoint(locate_checkpoint(start)), kept, strips)
        save_checkpoint(kept, run)
    bundle(kept)
    measure(mnist_root)


def mean_checkpoint(start: Checkpoint, kept: Checkpoint, strips: StripSet) -> Checkpoint:
    """The checkpoint of a run with the mean of its weights and those that it started from."""
    mean = replace(kept, weights=mean_weights(kept.weights, start.weights, 0.5))
    scores = evaluate(make_ready(mean, "the mean"), strips).splits
    metrics = {split: metrics.to_dict() for split, metrics in scores.items()}
    return replace(mean, metrics={**kept.metrics, **metrics})


def bundle(kept: Checkpoint) -> None:
    """Writes weights into the package, without what only their run needs."""
    none = torch.zeros(0, dtype=torch.int32)
    split = {"seed": kept.split["seed"], "train": none, "val": none}
    recipe = {**kept.recipe, "weights": "none", "device": "auto", "precision": "auto"}
    BUNDLED.parent.mkdir(exist_ok=True)
    save_checkpoint(replace(kept, recipe=recipe, split=split), BUNDLED)


def measure(mnist_root: Path | None) -> None:
    """Scores the bundled weights on strips of held-out digits."""
    model = load_model(BUNDLED)
    test = open_data(["mnist-test"], None, mnist_root)
    blurred = StripSet(["mnist-test, blurred"], [blur(test.images(), 1.1)], test.sums, test.truth)
    held_out = compose(scikit_digits(held_out=True), 10_000, seed=1)
    scores = {}
    for strips in (test, blurred, held_out.as_strips("scikit-learn, held out")):
        (scores[strips.name[0]],) = evaluate(model, strips).splits.values()
        print(strips.name[0], scores[strips.name[0]])
    document = {
        "parameters": model.parameters,
        "bytes": BUNDLED.stat().st_size,
        "recipe": model.checkpoint.recipe,
        "data": model.checkpoint.data,
        "rounds": {number: asdict(plan) for number, plan in ROUNDS.items()},
        "versions": {**model.checkpoint.versions, "platform": platform.machine()},
        "history": model.checkpoint.history,
        "metrics": {name: metrics.to_dict() for name, metrics in scores.items()},
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def training_strips(plan: Round, mnist_root: Path | None) -> StripSet:
    """The strips of all components of a round with their sums, and without their digits."""
    images, sums = [], []
    for seed, component in enumerate(plan.components, plan.seed):
        mnist = component.source == "mnist"
        digits = load_digits("mnist", mnist_root) if mnist else scikit_digits(held_out=False)
        rng = np.random.default_rng(seed)
        if component.augment_digits:
            digits = augment_digits(digits, rng)
        made = compose(digits, component.count, seed=seed)
        images.append(augment_strips(made.images, rng) if component.augment_strips else made.images)
        sums.append(made.sums)
    return StripSet(["scripts/weights.py"], [np.concatenate(images)], np.concatenate(sums))


def scikit_digits(held_out: bool) -> Digits:
    """The last 450 of scikit-learn's digits, or all others."""
    digits = load_digits("builtin")
    chosen = slice(-HELD_OUT, None) if held_out else slice(-HELD_OUT)
    return Digits(digits.images[chosen], digits.labels[chosen])


def augment_digits(digits: Digits, rng: np.random.Generator) -> Digits:
    """Each digit rotated by up to 15 degrees, scaled, sheared and shifted.

    A small set of digits is used 16 times over.
    """
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
        moved.append(_change_strokes(sampled, rng)[:, 0].round())
    return Digits(torch.cat(moved).to(torch.uint8).numpy(), labels)


def _change_strokes(digits: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Makes the strokes of every second digit of (N, 1, 28, 28) thinner or thicker.

    It is blurred, and then its edges are sharpened at another level of grey.
    """
    row = torch.tensor([0.25, 0.5, 0.25])
    soft = F.conv2d(digits[::2], torch.outer(row, row)[None, None], padding=1) / 255
    cut = torch.from_numpy(rng.uniform(0.25, 0.65, len(soft))).float()[:, None, None, None]
    digits[::2] = 255 * ((soft - cut) / 0.4 + 0.5).clamp(0, 1)
    return digits


def augment_strips(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blurs a third of the strips, and makes all of them 0.75 to 1.25 times as bright."""
    changed = images.copy()
    for row in range(len(changed)):
        brightness = rng.uniform(0.75, 1.25)
        if rng.random() < 1 / 3:
            changed[row] = blur(changed[row : row + 1], brightness)[0]
        else:
            changed[row] = np.clip(np.rint(changed[row] * brightness), 0, 255)
    return changed


def blur(images: NDArray[np.uint8], brightness: float) -> NDArray[np.uint8]:
    """Strips (N, 40, W) blurred by the 3x3 binomial kernel, then brightened."""
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    blurred = images.astype(np.float32)
    for axis in (1, 2):
        blurred = convolve1d(blurred, kernel, axis=axis, mode="constant")
    return np.clip(np.rint(blurred * brightness), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    typer.run(make)
