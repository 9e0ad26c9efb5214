"""What few labels cost: the reader beside cnn, and beside a digit-supervised reader.

The sets have 1,000 to 24,000 training strips. Each run sees 96,000 strips in all: the fewer it has,
the more epochs. Of the strips of a size, 80% train and the rest are used for checkpoint selection.
The digit-supervised reader is the same net with the same optimizer, schedule and strips. Its labels
are the digits from left to right (not where they stand), its loss is the exact likelihood of that
string, and its last weights are scored.

Usage: python studies/few_labels.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import typer
from study import ACCURACY, READER, Study, drawing, error_axis, scored, trained
from torch import Tensor

from digitsum.checkpoint import Checkpoint
from digitsum.datasets import open_data
from digitsum.datasets.strips import StripSet
from digitsum.device import DeviceConfig
from digitsum.inference import LoadedModel, make_ready
from digitsum.models import architecture, create, resolve_options
from digitsum.recipe import Recipe
from digitsum.training.data import TrainingData
from digitsum.training.distributed import World
from digitsum.training.state import TrainState

SIZES = (1_000, 3_000, 10_000, 24_000)  # training strips
SEEN = 96_000  # strips in all epochs together
SUPERVISED = "digit-supervised reader"


def string_likelihood(log_probs: Tensor, digits: Tensor) -> Tensor:
    """Log P(these digits from left to right, in any columns); (B, T, 11), (B, K) -> (B,)."""
    score = log_probs.new_full((len(digits), digits.shape[1] + 1), -1e4)  # by digits so far
    score[:, 0] = 0
    for column in log_probs.unbind(1):
        with_digit = score[:, :-1] + column.gather(1, digits + 1)
        with_blank = score + column[:, :1]
        score = torch.cat([with_blank[:, :1], torch.logaddexp(with_blank[:, 1:], with_digit)], 1)
    return score[:, -1]


def digit_supervised(recipe: Recipe, data: StripSet) -> LoadedModel:
    """A reader whose labels are the digits of its training strips."""
    recipe, world = resolve_options(recipe), World.from_environment()
    device = DeviceConfig.resolve(recipe.device, recipe.precision)
    strips = TrainingData(data, recipe, device.device, world)
    truth = data.truth()
    assert truth is not None
    digits = torch.from_numpy(truth).long().to(device.device)
    torch.manual_seed(recipe.seed)
    model = create(architecture(recipe.arch), data.width, recipe.options)
    model.loss = lambda outputs, sums, progress: (  # type: ignore[method-assign]
        -string_likelihood(outputs, sums).mean()  # which are the digits here
    )
    state = TrainState(model, recipe, strips.steps(), device, world)
    for epoch in range(recipe.epochs):
        state.model.train()
        losses = [
            state.step(strips.pixels[rows], digits[rows], epoch / recipe.epochs)
            for rows in strips.shuffled()
        ]
        print(f"{SUPERVISED}, epoch {epoch + 1}: loss {torch.stack(losses).mean():.4f}")
    kept = Checkpoint(
        arch=recipe.arch, recipe=recipe.to_dict(), weights=state.weights(),
        data=strips.source(), split=strips.split(), history=[], metrics={}, versions={},
    )  # fmt: skip
    return make_ready(kept, SUPERVISED)


def study(precision: str = "auto") -> None:
    """Measures accuracy by the number of training strips."""
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
        if who == SUPERVISED:
            recipe = Recipe("reader", **{**READER, "epochs": epochs, "precision": precision})
            return scored(digit_supervised(recipe, strips), test)
        changes = {"arch": who, "epochs": epochs}
        return scored(trained(f"few_labels_{who}_{size}", changes, strips, precision), test)

    for size in SIZES:
        for who in ("reader", SUPERVISED, "cnn"):
            kept.cell(f"{who}: {size:,}", lambda w=who, s=size: run(w, s))  # type: ignore[misc]
    kept.show({"exact_accuracy": ACCURACY, "mae": "MAE", "string_accuracy": "string %"})
    with drawing("few_labels") as axes:
        for who in ("reader", SUPERVISED, "cnn"):
            misread = [100 - kept.cells[f"{who}: {size:,}"]["exact_accuracy"] for size in SIZES]
            axes.plot(SIZES, misread, marker="o", label=who)
        axes.set(xscale="log", xlabel="training strips")
        axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
        error_axis(axes)
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
