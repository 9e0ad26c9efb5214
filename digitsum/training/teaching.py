"""Learning a hand on the spot: ten strips, a few seconds, nothing written to disk.

What `adapting` does, with less of everything. The layers that see strokes rest; what they see is
computed once, and a step of the layers behind them is cheap. Ten strips cannot be split to
validate, so three things guard the reader: it learns nothing where it reads all of them right
already, each step sees strips of known hands too, and the result is kept only if it reads the ten
better by likelihood, and known hands no worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from digitsum.checkpoint import Checkpoint
from digitsum.datasets.strips import ROWS, strip_hashes
from digitsum.datasets.synthesis import PITCH, Composition, compose
from digitsum.display import counted
from digitsum.errors import DataError, UsageError
from digitsum.inference import LoadedModel, make_ready
from digitsum.models import resolve_options, restore
from digitsum.models.reader import Reader
from digitsum.recipe import Recipe
from digitsum.training import ONE_RUN
from digitsum.training.adapting import mean_weights, rest_batch_norm
from digitsum.training.augmentation import placed_anew, warp
from digitsum.training.optimizers import make_optimizers, make_schedule
from digitsum.training.trainer import undisturbed

STEPS = 40
BATCH = (10, 14)  # strips in a step: of the new hand, and of known ones
RATE = 0.001
KEPT = 0.5  # weight of the start in what is learnt
VARIANTS = 16  # of each strip that is learnt from
KNOWN = 160  # strips of known hands to learn from, and as many to see that they are still read
SLACK = 0.01  # nats by which the likelihood of the latter may fall, as it does by chance
AT_ONCE = 32  # strips whose strokes are seen at once

OnShare = Callable[[float], None]  # called with the share that is done, 0..1


@dataclass(frozen=True)
class Lesson:
    """What a reader learnt from a few strips.

    Attributes:
        model: The reader after; the very one before, if nothing was kept.
        strips: How many strips there were.
        before: How many of them were read right before.
        after: And how many by `model`. It learnt from these: of others it will read fewer.
        kept: Whether it changed.
    """

    model: LoadedModel
    strips: int
    before: int
    after: int
    kept: bool

    def __repr__(self) -> str:
        kept = "kept" if self.kept else "not kept"
        return f"Lesson({self.before} of {self.strips} before, {self.after} after, {kept})"


def teach(
    model: LoadedModel,
    strips: Sequence[NDArray[np.uint8]],
    sums: ArrayLike,
    digits_per_strip: int = 4,
    on_share: OnShare = lambda share: None,
) -> Lesson:
    """Teaches a reader a hand from a few strips in memory; the model that is given stays as it is.

    Args:
        model: A reader.
        strips: The strips, uint8 (40, W) each, of any widths, light digits on black.
        sums: The sum of each, (N,), which is all that is told of it.
        digits_per_strip: How many digits each of them holds.
        on_share: Called with the share that is done; what it raises ends the lesson.

    Raises:
        UsageError: The model is no reader.
        DataError: There are no strips, or a sum for each is missing or out of reach.
    """
    if model.arch != "reader":
        raise UsageError(f"{model.name} is of '{model.arch}', and only a reader is taught")
    labels, most = np.asarray(sums, np.int64), 9 * digits_per_strip
    if not len(strips) or labels.shape != (len(strips),):
        raise DataError(f"sums {labels.shape} for {counted(len(strips), 'strip')}: give one each")
    if labels.min() < 0 or labels.max() > most:
        raise DataError(f"{counted(digits_per_strip, 'digit')} add up to 0..{most}: correct sums")
    given, own = model.checkpoint, _of_one_width(strips, PITCH * digits_per_strip)
    before = int((model.predict_strips(own, digits_per_strip).sum == labels).sum())
    unchanged = Lesson(model, len(strips), before, before, kept=False)
    if before == len(strips):
        return unchanged
    start = replace(given, recipe={**given.recipe, "digits_per_strip": digits_per_strip})
    learnt = _learn(start, own, labels, on_share)
    weights = mean_weights(learnt, given.weights, KEPT)
    if not _is_better(start, weights, own, labels):
        return unchanged
    seen = [torch.from_numpy(np.unique(strip_hashes(own)))]
    if (others := given.split.get("trained_on")) is not None:
        seen.append(others)
    taught = replace(
        given,
        weights=weights,
        split={**given.split, "trained_on": torch.unique(torch.cat(seen))},
        metrics={"epoch": given.metrics["epoch"]},  # all others are of the start
    )
    device = model.device
    ready = make_ready(taught, model.name, str(device.device), device.precision)
    after = int((ready.predict_strips(own, digits_per_strip).sum == labels).sum())
    return Lesson(ready, len(strips), before, after, kept=True)


def _of_one_width(strips: Sequence[NDArray[np.uint8]], least: int) -> NDArray[np.uint8]:
    """Strips (40, W) of any widths, each in the middle of a wide one: (N, 40, `least` or more)."""
    width = max(least, *(strip.shape[1] for strip in strips))
    made = np.zeros((len(strips), ROWS, width), np.uint8)
    for wide, strip in zip(made, strips, strict=True):
        left = (width - strip.shape[1]) // 2
        wide[:, left : left + strip.shape[1]] = strip
    return made


def _known_hands(start: Checkpoint, width: int, seed: int) -> Composition:
    """Strips of scikit-learn's digits, which keep the reader from forgetting."""
    digits = int(start.recipe["digits_per_strip"])
    return compose("builtin", KNOWN, (digits, digits), max(width, PITCH * digits), seed)


def _learn(
    start: Checkpoint, strips: NDArray[np.uint8], sums: NDArray[np.int64], on_share: OnShare
) -> dict[str, Tensor]:
    """The weights after a short run from `start`, on the CPU.

    Args:
        start: A reader of strips with a known number of digits.
        strips: (N, 40, W) uint8.
        sums: (N,).
        on_share: See `teach`.
    """
    short = {"epochs": 1, "lr": RATE, "guide": 0.0, "device": "cpu", "precision": "fp32"}
    recipe = resolve_options(Recipe.from_dict({**start.recipe, **short}))
    known = _known_hands(start, strips.shape[2], seed=0)
    with ONE_RUN, undisturbed(recipe):
        torch.manual_seed(recipe.seed)
        module = restore(Reader, strips.shape[2], recipe.options, start.weights)
        assert isinstance(module, Reader)
        rest_batch_norm(module.train())
        own = placed_anew(torch.from_numpy(strips).repeat(VARIANTS, 1, 1))
        pixels = torch.cat([own, torch.from_numpy(known.images)])
        labels = torch.from_numpy(np.concatenate([*[sums] * VARIANTS, known.sums])).float()
        seen: list[Tensor] = []
        with torch.no_grad():
            for batch in torch.split(pixels, AT_ONCE):
                on_share(0.5 * AT_ONCE * len(seen) / len(pixels))
                seen.append(module.see_strokes(warp(batch.unsqueeze(1).float() / 255, recipe.warp)))
        columns = torch.cat(seen)
        optimizers = make_optimizers(recipe, module)
        schedules = [make_schedule(recipe, each, STEPS) for each in optimizers]
        for step in range(STEPS):
            on_share(0.5 + 0.5 * step / STEPS)
            mine, theirs = torch.randperm(len(own)), torch.randperm(len(known.images))
            rows = torch.cat([mine[: BATCH[0]], len(own) + theirs[: BATCH[1]]])
            loss = module.loss(module.read_digits(columns[rows]), labels[rows], progress=1.0)
            module.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
    return module.state_dict()


def _is_better(
    start: Checkpoint,
    weights: dict[str, Tensor],
    strips: NDArray[np.uint8],
    sums: NDArray[np.int64],
) -> bool:
    """Whether these weights read the strips better than those of the start, others no worse."""
    known = _known_hands(start, strips.shape[2], seed=1)
    own, others = [], []
    for each in (start, replace(start, weights=weights)):
        model = make_ready(each, "the lesson", "cpu", "fp32")
        own.append(_loss(model, strips, sums))
        others.append(_loss(model, known.images, known.sums))
    return own[1] < own[0] and others[1] < others[0] + SLACK


@torch.inference_mode()
def _loss(model: LoadedModel, strips: NDArray[np.uint8], sums: NDArray[np.int64]) -> float:
    """Mean -log P(count, sum) of strips (N, 40, W) and sums (N,), in nats."""
    losses = []
    batches = (torch.split(torch.from_numpy(each), AT_ONCE) for each in (strips, sums))
    for pixels, labels in zip(*batches, strict=True):
        outputs = model.module(model.device.normalize(pixels))
        losses.append(len(labels) * float(model.module.loss(outputs, labels.float(), 1.0)))
    return sum(losses) / len(strips)
