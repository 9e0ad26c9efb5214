"""Trains the bundled weights, `digitsum/weights/reader.pt`, and measures them.

Usage: python scripts/weights.py START.pt --round 1 [--mnist-root FOLDER] [--optdigits FILE]

`make weights` runs all rounds. START is a reader's checkpoint, trained on the strips of `mnist`,
and each round starts from the weights of the one before. The labels are sums, and it is known how
many digits each strip holds. The strips are other compositions of the same MNIST training digits,
and of three quarters of scikit-learn's digits.

Augmentation makes the reader know digits and not the pixels of one data set. Some strips are
composed from digits that were rotated, scaled, sheared and shifted, half of these with thinner or
thicker strokes. Many strips are blurred, darkened or brightened. In training all strips get elastic
distortion, as the recipe has it. The third round has less augmentation and more plain strips, and
the next two have more augmentation again. Their result is the mean of the weights before and after,
which keeps what either predicts well (Wortsman et al., 2022, "Robust fine-tuning of zero-shot
models").

The last three rounds are for other hands: strips of 1 to 6 digits as many people write and scan
them (`hands.py`), of the same digits, of three quarters of optdigits', and of digits that a pen of
our own draws (`pen.py`). In the last two most strips are plain. Each has two runs with other
strips, and the result is the mean of their weights, in two rounds with those before.

The figures are on strips of held-out digits: MNIST's test digits, the last 450 of scikit-learn's,
and the last 484 of optdigits'.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from hands import Hands, write_strips
from numpy.typing import NDArray
from optdigits import WHERE
from optdigits import optdigits as load_optdigits
from pen import draw_digits
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
from digitsum.datasets.synthesis import Composition, compose
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import load_model, make_ready
from digitsum.training import train
from digitsum.training.adapting import mean_weights

HELD_OUT = 450  # of scikit-learn's 1,797 digits, the last ones
LEARNT_FROM = 1450  # of optdigits' 1,934 digits, the first ones: about three writers in four
DRAWN = 10_000  # digits of the pen


@dataclass(frozen=True)
class Component:
    """Strips of one kind in the mixture of a round."""

    source: str  # of their digits: mnist, builtin, optdigits, coarse (optdigits) or pen
    count: int
    augment_digits: bool = False
    augment_strips: bool = False
    hands: bool = False  # whether each strip is in a hand of its own


@dataclass(frozen=True)
class Round:
    """Which strips a round trains on, and for how long."""

    components: tuple[Component, ...]
    epochs: int
    lr: float
    seed: int  # for the strips of the first component; the next ones have the next seeds
    batch_size: int = 64
    runs: int = 1  # with other strips; their weights are averaged
    keep: float = 0.0  # share of the weights before in the mean of those before and after


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
HANDS = (
    Component("mnist", 27_000),
    Component("builtin", 2_700),
    Component("optdigits", 2_700),
    Component("mnist", 25_200, hands=True),
    Component("builtin", 9_000, hands=True),
    Component("optdigits", 12_600, hands=True),
    Component("pen", 10_800, hands=True),
)
POLISH = (
    Component("mnist", 30_000),
    Component("builtin", 7_000),
    Component("coarse", 9_000),
    Component("optdigits", 6_000),
    Component("mnist", 6_000, hands=True),
    Component("builtin", 3_000, hands=True),
    Component("coarse", 3_000, hands=True),
    Component("optdigits", 5_000, hands=True),
    Component("pen", 2_500, hands=True),
)
LAST = (
    Component("mnist", 34_200),
    Component("builtin", 4_500),
    Component("coarse", 5_400),
    Component("optdigits", 3_600),
    Component("mnist", 2_700, hands=True),
    Component("optdigits", 2_250, hands=True),
    Component("pen", 1_350, hands=True),
)
ROUNDS = {
    1: Round(WIDE, epochs=4, lr=0.001, seed=100),
    2: Round(WIDE, epochs=8, lr=0.002, seed=200),
    3: Round(PLAIN, epochs=2, lr=0.001, seed=300),
    4: Round(MIXED, epochs=3, lr=0.001, seed=400, keep=0.5),
    5: Round(MIXED, epochs=2, lr=0.001, seed=500, keep=0.5),
    6: Round(HANDS, epochs=2, lr=0.0015, seed=600, batch_size=32, runs=2, keep=0.3),
    7: Round(POLISH, epochs=1, lr=0.001, seed=700, batch_size=32, runs=2),
    8: Round(LAST, epochs=1, lr=0.0008, seed=800, batch_size=32, runs=2, keep=0.5),
}
BUNDLED = bundled_path("reader")
RESULTS = Path(__file__).parents[1] / "studies" / "results" / "weights.json"


def make(
    start: Annotated[str, typer.Argument(help="The reader's checkpoint to start from.")],
    number: Annotated[
        int, typer.Option("--round", min=1, max=len(ROUNDS), help="Number of the round.")
    ],
    mnist_root: options.MnistRoot = None,
    optdigits: Annotated[Path | None, typer.Option(help=f"For rounds from 6 on: {WHERE}.")] = None,
    precision: options.PrecisionOfRun = None,
    out: Annotated[Path, typer.Option("--run", help="Checkpoint of this run.")] = Path(
        "weights.pt"
    ),
) -> None:
    """Trains a round, bundles its weights, and measures them."""
    keep_freed()  # as the program does
    plan = ROUNDS[number]
    began = load_checkpoint(locate_checkpoint(start))
    keys: dict[str, Any] = {"arch": "reader", "weights": start, "guide": 0.0}
    keys |= {"precision": precision or "auto", "ema_decay": 0.998}
    keys |= {"epochs": plan.epochs, "lr": plan.lr, "batch_size": plan.batch_size, "size": "base"}
    kept = began
    for again in range(plan.runs):
        strips = training_strips(plan, again, mnist_root, optdigits)
        path = out.with_stem(f"{out.stem}-{again + 1}") if plan.runs > 1 else out
        run(strips, path, {**keys, "seed": again})
        kept = mixed(load_checkpoint(path), kept, again / (again + 1))
    if plan.runs > 1 or plan.keep:
        kept = scored(mixed(kept, began, plan.keep), strips)
        save_checkpoint(kept, out)
    bundle(kept)
    measure(mnist_root, optdigits)


def run(strips: StripSet, path: Path, keys: dict[str, Any]) -> None:
    """One run, with the display of `digitsum train`."""
    run_shown(
        path, lambda on_event: train(strips, out=path, overwrite=True, on_event=on_event, **keys)
    )


def mixed(kept: Checkpoint, other: Checkpoint, share: float) -> Checkpoint:
    """A checkpoint with a mean of weights, in which those of another count by `share`."""
    return replace(kept, weights=mean_weights(kept.weights, other.weights, share))


def scored(kept: Checkpoint, strips: StripSet) -> Checkpoint:
    """A checkpoint with the metrics of its weights, which a mean has changed."""
    scores = evaluate(make_ready(kept, "the mean"), strips).splits
    metrics = {split: metrics.to_dict() for split, metrics in scores.items()}
    return replace(kept, metrics={**kept.metrics, **metrics})


def bundle(kept: Checkpoint) -> None:
    """Writes weights into the package, without what only their run needs."""
    none = torch.zeros(0, dtype=torch.int32)
    split = {"seed": kept.split["seed"], "train": none, "val": none}
    recipe = {**kept.recipe, "weights": "none", "device": "auto", "precision": "auto"}
    recipe["digits_per_strip"] = 4  # what is assumed, whatever the strips of the last round held
    BUNDLED.parent.mkdir(exist_ok=True)
    save_checkpoint(replace(kept, recipe=recipe, split=split), BUNDLED)


def measure(mnist_root: Path | None, optdigits: Path | None) -> None:
    """Scores the bundled weights on strips of held-out digits."""
    model = load_model(BUNDLED)
    test = open_data(["mnist-test"], None, mnist_root)
    blurred = StripSet(["mnist-test, blurred"], [blur(test.images(), 1.1)], test.sums, test.truth)
    scikit = compose(scikit_digits(held_out=True), 10_000, seed=1)
    sets = [test, blurred, scikit.as_strips("scikit-learn, held out")]
    if optdigits is not None:
        thirty = compose(optdigits_digits(optdigits, held_out=True), 10_000, seed=1)
        sets.append(thirty.as_strips("optdigits, held out"))
    scores = {}
    for strips in sets:
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


def training_strips(
    plan: Round, again: int, mnist_root: Path | None = None, optdigits: Path | None = None
) -> StripSet:
    """The strips of all components of a round with sums and counts, and without their digits.

    Args:
        plan: The round.
        again: Which of its runs, from 0 up: each has other strips.
        mnist_root: Where MNIST lies.
        optdigits: The file of optdigits, where the round needs it.
    """
    images, sums, counts = [], [], []
    for seed, component in enumerate(plan.components, plan.seed + 50 * again):
        rng = np.random.default_rng(seed)
        digits = digits_of(component.source, rng, mnist_root, optdigits)
        if component.augment_digits:
            digits = augment_digits(digits, rng)
        made: Hands | Composition = (
            write_strips(digits, component.count, rng)
            if component.hands
            else compose(digits, component.count, seed=seed)
        )
        images.append(augment_strips(made.images, rng) if component.augment_strips else made.images)
        sums.append(made.sums)
        counts.append(made.counts)
    strips = StripSet(["scripts/weights.py"], [np.concatenate(images)], np.concatenate(sums))
    return strips.with_counts(np.concatenate(counts))


def digits_of(
    source: str, rng: np.random.Generator, mnist_root: Path | None, optdigits: Path | None
) -> Digits:
    """The digits of a source that training may use."""
    if source == "pen":
        return draw_digits(DRAWN, rng)
    if source in ("optdigits", "coarse"):
        if optdigits is None:
            raise typer.BadParameter(f"this round needs --optdigits FILE, which is {WHERE}")
        return optdigits_digits(optdigits, held_out=False, coarse=source == "coarse")
    return load_digits("mnist", mnist_root) if source == "mnist" else scikit_digits(held_out=False)


def optdigits_digits(path: Path, held_out: bool, coarse: bool = False) -> Digits:
    """The last 484 of optdigits' 1,934 digits, or all others."""
    digits = load_optdigits(path, coarse)
    chosen = slice(LEARNT_FROM, None) if held_out else slice(LEARNT_FROM)
    return Digits(digits.images[chosen], digits.labels[chosen])


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
    return np.asarray(np.clip(np.rint(blurred * brightness), 0, 255), np.uint8)


if __name__ == "__main__":
    typer.run(make)
