"""What few labels cost: reader beside cnn, and a reader that is told the digits.

The sets have 1,000 to 24,000 training strips. Each run sees 96,000 strips in all: the fewer it has,
the more epochs. Of the strips of a size, 80% train and the rest chooses the epoch. The taught
reader is the same net with the same optimizer, schedule and strips; its labels are the digits from
left to right (not where they stand), its loss the exact likelihood of that string, and its last
weights are scored.

Usage: python benchmarks/studies/few_labels.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import typer
from study import Study, drawing, misread_axis, scored, trained
from torch import Tensor

from digitsum.checkpoint import Checkpoint
from digitsum.compute import Compute
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.training_set import TrainingSet
from digitsum.distributed import World
from digitsum.inference import LoadedModel, make_ready
from digitsum.learner import Learner
from digitsum.recipe import Recipe

SIZES = (1_000, 3_000, 10_000, 24_000)  # training strips
SEEN = 96_000  # strips in all epochs together
TAUGHT = "reader, told the digits"


def string_likelihood(log_probs: Tensor, digits: Tensor) -> Tensor:
    """Log P(these digits from left to right, in any columns); (B, T, 11), (B, K) -> (B,)."""
    score = log_probs.new_full((len(digits), digits.shape[1] + 1), -1e4)  # by digits so far
    score[:, 0] = 0
    for column in log_probs.unbind(1):
        told = score[:, :-1] + column.gather(1, digits + 1)
        waits = score + column[:, :1]
        score = torch.cat([waits[:, :1], torch.logaddexp(waits[:, 1:], told)], 1)
    return score[:, -1]


def taught(recipe: Recipe, data: StripSet) -> LoadedModel:
    """A reader that is told the digits of its training strips."""
    compute, world = Compute.resolve(recipe.device, recipe.precision), World.of_environment()
    strips = TrainingSet(data, recipe, compute.device, world)
    truth = data.truth()
    assert truth is not None
    digits = torch.from_numpy(truth).long()
    torch.manual_seed(recipe.seed)
    learner = Learner(recipe, data.width, strips.steps(), compute, world)
    learner.model.loss = lambda outputs, labels, progress: (  # type: ignore[assignment]
        -string_likelihood(outputs, labels).mean()
    )
    for epoch in range(recipe.epochs):
        learner.model.train()
        losses = [
            learner.step(strips.pixels[rows], digits[rows], epoch / recipe.epochs)
            for rows in strips.shuffled()
        ]
        print(f"told the digits, epoch {epoch + 1}: loss {torch.stack(losses).mean():.4f}")
    kept = Checkpoint(
        arch=recipe.arch, recipe=recipe.to_dict(), weights=learner.weights(),
        data=strips.source(), split=strips.split(), history=[], metrics={}, versions={},
    )  # fmt: skip
    return make_ready(kept, TAUGHT)


def study(precision: str = "auto") -> None:
    kept = Study("few_labels")
    whole, test = open_data("mnist"), open_data("mnist-test")

    def run(who: str, size: int) -> dict[str, Any]:
        count = size * 5 // 4  # 80% of them train
        truth = whole.truth()
        assert truth is not None
        strips = StripSet(
            [f"mnist, the first {count:,}"], [whole.images()[:count]], whole.sums[:count],
            lambda: np.asarray(truth[:count]),
        )  # fmt: skip
        epochs = SEEN // size
        if who == TAUGHT:
            recipe = Recipe.from_dict({"arch": "reader", "epochs": epochs, "precision": precision})
            return scored(taught(recipe, strips), test)
        changes = {"arch": who, "epochs": epochs}
        return scored(trained(f"few_labels_{who}_{size}", changes, strips, precision), test)

    for size in SIZES:
        for who in ("reader", TAUGHT, "cnn"):
            kept.cell(f"{who}: {size:,}", lambda w=who, s=size: run(w, s))  # type: ignore[misc]
    kept.show(
        {"exact_accuracy": "exact %", "mae": "MAE", "string_accuracy": "all digits %"},
    )
    with drawing("few_labels") as axes:
        for who in ("reader", TAUGHT, "cnn"):
            misread = [100 - kept.cells[f"{who}: {size:,}"]["exact_accuracy"] for size in SIZES]
            axes.plot(SIZES, misread, marker="o", label=who)
        axes.set(xscale="log", xlabel="training strips")
        axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
        misread_axis(axes)
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
