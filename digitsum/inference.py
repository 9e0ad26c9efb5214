"""A trained model, ready to read strips of any number, a chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from digitsum import checkpoint as checkpoints
from digitsum.checkpoint import Checkpoint
from digitsum.compute import Compute
from digitsum.datasets.arrays import ROWS, as_strips
from digitsum.errors import CheckpointError, DataError, DigitsumError, prefixed
from digitsum.models import restore
from digitsum.models.folding import fold_batch_norm
from digitsum.readings import Readings
from digitsum.recipe import Recipe

BATCH = 64  # strips in a forward pass: on a CPU more take memory and are no faster


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with the checkpoint that it came from."""

    name: str  # the path as it was given
    module: nn.Module
    checkpoint: Checkpoint
    recipe: Recipe
    compute: Compute
    parameters: int  # trained weights

    @property
    def arch(self) -> str:
        """Name of the architecture."""
        return self.checkpoint.arch

    @torch.inference_mode()
    def read(self, strips: NDArray[np.uint8], digits_per_strip: int | None = None) -> Readings:
        """Readings of uint8 strips (N, 40, W), `BATCH` at a time.

        Args:
            strips: Light digits on black.
            digits_per_strip: How many digits each strip is known to hold; None if not known.

        Raises:
            DataError: These are not uint8 strips, or not of a width that the model takes.
        """
        if strips.dtype != np.uint8 or strips.ndim != 3 or strips.shape[1] != ROWS:
            raise DataError(
                f"cannot read {strips.dtype} of shape {strips.shape}: strips are uint8 "
                f"(N, {ROWS}, W), light digits on black in 0..255"
            )
        parts = []
        for pixels in torch.split(torch.from_numpy(np.ascontiguousarray(strips)), BATCH):
            with self.compute.autocast():
                outputs = self.module(self.compute.strips(pixels))
            parts.append(self.module.read(outputs, digits_per_strip))  # type: ignore[operator]
        return Readings.concatenate(parts)

    def predict(self, images: ArrayLike) -> Readings:
        """Readings of strips in any shape and type that files hold, as `digitsum predict` reads.

        Args:
            images: (N, 40, W), flat (N, 6720) and so on: see `digitsum.datasets.arrays`. How many
                digits each holds is taken from the recipe.

        Returns:
            Readings that keep their strips, so that a notebook can show them.

        Raises:
            DataError: These are no strips, or not of a width that the model takes.
        """
        strips = as_strips(np.asarray(images), "images")
        return replace(self.read(strips, self.recipe.digits_per_strip), strips=strips)

    def check_width(self, width: int, digits_per_strip: int | None = None) -> Readings:
        """Reads a black strip, to find out whether the model takes such ones, of so many digits.

        Raises:
            DataError: It does not.
        """
        return self.read(np.zeros((1, ROWS, width), np.uint8), digits_per_strip)


def part_rows(counts: Sequence[int], part: int, parts: int) -> list[range]:
    """The rows of each file that are one of several parts, consecutive and about equal.

    Files are cut between batches only, so that a strip is read among the same others, and to the
    same last digit, in a part as in the whole.

    Args:
        counts: Strips in each file.
        part: Which, from 1.
        parts: How many.
    """
    batches = [-(-count // BATCH) for count in counts]
    first, last = (sum(batches) * p // parts for p in (part - 1, part))
    rows = []
    for count, n in zip(counts, batches, strict=True):
        start, stop = (min(max(edge, 0), n) * BATCH for edge in (first, last))
        rows.append(range(min(start, count), min(stop, count)))
        first, last = first - n, last - n
    return rows


def load_model(path: Path | str, device: str = "auto", precision: str = "auto") -> LoadedModel:
    """Loads a checkpoint for reading, or by the name `reader` the weights that ship.

    An existing file of that name wins.

    Raises:
        CheckpointError: It cannot be read, or its weights do not fit its architecture.
        UsageError: The device is not there.
    """
    return make_ready(checkpoints.load(checkpoints.locate(path)), str(path), device, precision)


def make_ready(
    checkpoint: Checkpoint, name: str, device: str = "auto", precision: str = "auto"
) -> LoadedModel:
    """The model of a checkpoint in memory, ready to read; `name` is for messages.

    Raises:
        CheckpointError: Its weights do not fit its architecture.
        UsageError: The device is not there.
    """
    compute = Compute.resolve(device, precision, reading=True)
    try:
        recipe = Recipe.from_dict(checkpoint.recipe)
        module = restore(
            checkpoint.arch, int(checkpoint.data["width"]), recipe.options, checkpoint.weights
        )
    except (DigitsumError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    parameters = sum(p.numel() for p in module.parameters())
    module = compute.place(fold_batch_norm(module))
    if compute.precision == "int8":
        with prefixed(name):
            module = _int8(module)
    return LoadedModel(name, module, checkpoint, recipe, compute, parameters)


def _int8(module: nn.Module) -> nn.Module:
    """The same in 8-bit integers, its scales found on strips that come with the package."""
    from digitsum.datasets.digits import load_digits
    from digitsum.datasets.synthesis import compose
    from digitsum.models.int8 import SAMPLES, to_int8

    return to_int8(module, compose(load_digits("builtin"), SAMPLES).images)
