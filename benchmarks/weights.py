"""Trains the weights that ship, `digitsum/weights/reader.pt`, and measures them.

Usage: python benchmarks/weights.py START.pt --round 1 [--mnist-root FOLDER]

`make weights` does it all: START is a reader's checkpoint, trained on the strips of `mnist`; each
round goes on from the one before. The weights learn from other compositions of the same MNIST
training digits, and of three quarters of scikit-learn's digits: from their sums, and from knowing
that each strip holds four. Some are drawn from digits that were turned, scaled, sheared and
shifted, half of these with a thinner or thicker pen; many strips are blurred, darkened or
brightened, so that the reader knows digits and not the pixels of one data set. In training all are
warped, as the recipe has it. The third round has less of all this and more plain strips, the last
two have more of it again, and what they ship is the mean of the weights before and after: it keeps
what either reads well (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models").

The figures are on strips of digits that nothing here learnt from: MNIST's test digits, and the
last 450 of scikit-learn's.
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

from digitsum import checkpoint as checkpoints
from digitsum import evaluation, training
from digitsum.checkpoint import Checkpoint
from digitsum.cli import options
from digitsum.cli.memory import keep_freed
from digitsum.cli.show import run_shown
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.synthesis import compose
from digitsum.inference import load_model, make_ready
from digitsum.recipe import Recipe

HELD_OUT = 450  # of scikit-learn's 1,797 digits, the last ones


@dataclass(frozen=True)
class Part:
    """Strips of one kind."""

    source: str  # of their digits: mnist or builtin
    count: int
    digits_vary: bool
    strips_vary: bool


@dataclass(frozen=True)
class Round:
    """What the weights learn from, for how long."""

    parts: tuple[Part, ...]
    epochs: int
    lr: float
    seed: int  # of the first part's strips; the others' follow
    mean: bool = False  # ship the mean of the weights before and after


WIDE = (
    Part("mnist", 24_000, False, False),
    Part("mnist", 20_000, True, True),
    Part("builtin", 2_000, False, False),
    Part("builtin", 24_000, True, True),
)
PLAIN = (
    Part("mnist", 72_000, False, False),
    Part("mnist", 10_000, False, True),
    Part("mnist", 6_000, True, True),
    Part("builtin", 12_000, True, True),
)
MIXED = (
    Part("mnist", 30_000, False, False),
    Part("mnist", 6_000, True, True),
    Part("builtin", 6_000, False, False),
    Part("builtin", 22_000, True, True),
)
ROUNDS = {
    1: Round(WIDE, epochs=4, lr=0.001, seed=100),
    2: Round(WIDE, epochs=8, lr=0.002, seed=200),
    3: Round(PLAIN, epochs=2, lr=0.001, seed=300),
    4: Round(MIXED, epochs=3, lr=0.001, seed=400, mean=True),
    5: Round(MIXED, epochs=2, lr=0.001, seed=500, mean=True),
}
SHIPPED = Path(__file__).parents[1] / "digitsum" / "weights" / "reader.pt"
RESULTS = Path(__file__).parent / "results" / "weights.json"


def make(
    start: Annotated[str, typer.Argument(help="The reader's checkpoint to start from.")],
    number: Annotated[
        int, typer.Option("--round", min=1, max=len(ROUNDS), help="Which of ROUNDS.")
    ],
    mnist_root: options.MnistRoot = None,
    precision: options.Precision = "auto",
    run: Annotated[Path, typer.Option(help="Checkpoint of this run.")] = Path("weights.pt"),
) -> None:
    """Trains, ships, measures."""
    keep_freed()  # as the program does
    plan = ROUNDS[number]
    recipe = Recipe.from_dict(
        {
            "arch": "reader",
            "epochs": plan.epochs,
            "lr": plan.lr,
            "precision": precision,
            "weights": start,
            "guide": 0.0,
        }
    )
    strips = strips_to_learn_from(plan, mnist_root)
    run_shown(run, lambda report: training.train(recipe, strips, run, report))
    kept = checkpoints.load(run)
    if plan.mean:
        kept = halfway(checkpoints.load(checkpoints.locate(start)), kept, strips)
        checkpoints.save(kept, run)
    ship(kept)
    measure(mnist_root)


def halfway(start: Checkpoint, kept: Checkpoint, strips: StripSet) -> Checkpoint:
    """A run's checkpoint with the mean of its weights and those that it started from."""
    weights = {
        name: torch.lerp(start.weights[name], end, 0.5) if end.is_floating_point() else end
        for name, end in kept.weights.items()
    }
    mean = replace(kept, weights=weights)
    scores = evaluation.evaluate(make_ready(mean, "the mean"), strips).splits
    metrics = {part: metrics.to_dict() for part, metrics in scores.items()}
    return replace(mean, metrics={**kept.metrics, **metrics})


def ship(kept: Checkpoint) -> None:
    """Writes weights into the package, without what only their run needs."""
    none = torch.zeros(0, dtype=torch.int32)
    split = {"seed": kept.split["seed"], "train": none, "val": none}
    recipe = {**kept.recipe, "weights": "none", "device": "auto", "precision": "auto"}
    SHIPPED.parent.mkdir(exist_ok=True)
    checkpoints.save(replace(kept, recipe=recipe, split=split), SHIPPED)


def measure(mnist_root: Path | None) -> None:
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
        "rounds": {number: asdict(plan) for number, plan in ROUNDS.items()},
        "versions": {**model.checkpoint.versions, "platform": platform.machine()},
        "history": model.checkpoint.history,
        "metrics": {name: metrics.to_dict() for name, metrics in scores.items()},
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def strips_to_learn_from(plan: Round, mnist_root: Path | None) -> StripSet:
    """All parts of a round as one set: strips and sums, nothing else."""
    images, sums = [], []
    for seed, part in enumerate(plan.parts, plan.seed):
        mnist = part.source == "mnist"
        digits = load_digits("mnist", mnist_root) if mnist else scikit_digits(False)
        rng = np.random.default_rng(seed)
        drawn = vary_digits(digits, rng) if part.digits_vary else digits
        made = compose(drawn, part.count, seed=seed)
        images.append(vary_strips(made.images, rng) if part.strips_vary else made.images)
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
