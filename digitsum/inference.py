"""A trained model, ready to predict strips of any number, a chunk at a time."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from digitsum.ambient import default_settings
from digitsum.checkpoint import Checkpoint, load_checkpoint
from digitsum.checkpoint_paths import locate_checkpoint
from digitsum.coercion import plain
from digitsum.cropping import ALIGNED, Batch, cropped_batches, crops_on
from digitsum.datasets import NAMES
from digitsum.datasets.appearance import Invert, light_on_dark, warn_of_appearance
from digitsum.datasets.arrays import as_strips
from digitsum.datasets.counts import as_counts
from digitsum.datasets.digits import load_digits
from digitsum.datasets.fitting import fit_strips
from digitsum.datasets.strips import ROWS, at_once
from digitsum.datasets.synthesis import compose
from digitsum.device import DeviceConfig
from digitsum.display import counted
from digitsum.errors import (
    CheckpointError,
    DataError,
    DataWarning,
    DigitsumError,
    UsageError,
    prefixed,
)
from digitsum.models import architecture_of_checkpoint, check_options, restore
from digitsum.models.base import Architecture
from digitsum.models.folding import fold_batch_norm
from digitsum.predictions import CountCheck, Predictions
from digitsum.recipe import Recipe

LARGEST_SUM = 2**31  # that a label may be
# names of strips that are light on dark for certain
COMPOSED = {*NAMES, "benchmarks/weights.py", "scripts/weights.py"}
INT8_SAMPLES = 256  # strips on which the ranges of 8-bit integers are measured

DigitCount = int | Literal["any"] | None  # None: as many as the model was trained on


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with the checkpoint that it came from.

    Attributes:
        name: The path of the checkpoint, as it was given.
        module: The model itself.
        checkpoint: What the file holds.
        recipe: How the model was trained.
        device: Where it computes, and in which precision.
        parameters: Number of trained weights.
    """

    name: str
    module: Architecture
    checkpoint: Checkpoint
    recipe: Recipe
    device: DeviceConfig
    parameters: int

    def __repr__(self) -> str:
        return (
            f"LoadedModel({self.name}: {self.arch}, {counted(self.parameters, 'parameter')}, "
            f"{self.device})"
        )

    @property
    def arch(self) -> str:
        """Name of the architecture."""
        return self.checkpoint.arch

    @property
    def width(self) -> int:
        """Width of the strips that the model was trained on, in pixels."""
        return int(self.checkpoint.data["width"])

    def predict(
        self,
        images: ArrayLike,
        digits_per_strip: DigitCount = None,
        counts: ArrayLike | None = None,
        fit: bool = False,
        invert: Invert = "auto",
    ) -> Predictions:
        """Predictions for strips in any shape and type that files hold.

        Args:
            images: (N, 40, W), flat (N, 6720) and so on: see `digitsum.datasets.arrays`.
            digits_per_strip: How many digits each strip is known to hold; `any` if that is not
                known. By default as many as the model was trained on.
            counts: How many digits each strip holds, (N,), where that differs.
            fit: Whether strips of other heights are brought to 40 rows; see
                `digitsum.datasets.fitting`.
            invert: Which strips are inverted; see `invert`.

        Returns:
            Predictions that keep their strips, so that a notebook can show them.

        Raises:
            DataError: These are no strips, or not of a width that the model takes.
            UsageError: The digit count is neither a whole number from 1 up nor `any`, or counts are
                given too.
        """
        given = np.asarray(images)
        strips = fit_strips(given, "images") if fit else as_strips(given, "images")
        count = self.digit_count(digits_per_strip)
        known = self.known_counts(counts, digits_per_strip, len(strips), strips.shape[2])
        warn_of_appearance([strips], "images", [which := self.invert(invert)])
        strips, _ = light_on_dark(strips, which)
        found = replace(self.predict_strips(strips, count, known), strips=strips)
        if message := CountCheck().add(found).warning(None if known is not None else count):
            warnings.warn(message, DataWarning, stacklevel=2)
        return found

    def invert(self, asked: Invert) -> Invert:
        """Which strips of arrays to invert: `auto`, those that are dark on light, or all or none.

        `auto` is `no` for a model that was trained on a person's own strips: these may have been
        dark on light too.

        Raises:
            UsageError: It is none of these.
        """
        if asked not in ("auto", "yes", "no"):
            raise UsageError(f"invert {asked!r}: give auto, yes or no")
        return asked if asked != "auto" or set(self.checkpoint.data["name"]) <= COMPOSED else "no"

    def known_counts(
        self, counts: ArrayLike | None, digits_per_strip: DigitCount, strips: int, width: int
    ) -> NDArray[np.int64] | None:
        """Counts that a person gave for so many strips, checked, (N,); None if there are none.

        Raises:
            DataError: They are not one for each strip, whole, and possible.
            UsageError: A digit count for all strips is given too.
        """
        if counts is None:
            return None
        if digits_per_strip is not None:
            raise UsageError(
                f"counts are given, and digits_per_strip {digits_per_strip!r}: give one of them"
            )
        return as_counts(np.asarray(counts), "counts", np.zeros(strips, np.int64), width)

    def digit_count(self, asked: DigitCount = None) -> int | None:
        """The known number of digits for `asked`; None if any number will do.

        Raises:
            UsageError: It is neither a whole number from 1 up nor `any`, or the model tells no
                digits.
        """
        if asked is None:
            return self.recipe.digits_per_strip
        if isinstance(asked, str) and asked == "any":
            return None
        asked = plain(asked)
        if type(asked) is not int or asked < 1:
            raise UsageError(f"digits_per_strip {asked!r}: give a whole number from 1 up, or any")
        if not self.module.uses_digit_count:
            raise UsageError(
                f"digits_per_strip {asked}: {self.name} tells no digits, so their number changes "
                "nothing; leave it out"
            )
        return asked

    @default_settings()
    @torch.inference_mode()
    def predict_strips(
        self,
        strips: NDArray[np.uint8],
        known_count: int | None,
        counts: NDArray[np.int64] | None = None,
    ) -> Predictions:
        """What `predict` does after it has checked its arguments, a batch at a time.

        Args:
            strips: uint8 (N, 40, W), light digits on black.
            known_count: How many digits each strip is known to hold; None if not known.
            counts: The same for each strip, (N,), where that differs; `known_count` is not used.

        Raises:
            DataError: These are not uint8 strips, or not of a width that the model takes.
            CheckpointError: The model's outputs are no sums, as its weights overflow.
        """
        made = self._batches(strips, known_count, counts)
        return _in_order([(batch.rows, found) for batch, _, found in made])

    @default_settings()
    @torch.inference_mode()
    def predict_with_columns(
        self,
        strips: NDArray[np.uint8],
        known_count: int | None,
        counts: NDArray[np.int64] | None = None,
    ) -> tuple[Predictions, torch.Tensor | None]:
        """What `predict_strips` gives and, from the same passes, what the model sees in columns.

        That is the probabilities (N, T, 11) of blank and each digit in each column, float32 on the
        CPU; None if the model has no columns.
        """
        made, columns = [], None
        for batch, outputs, found in self._batches(strips, known_count, counts):
            made.append((batch.rows, found))
            if (seen := self.module.column_probabilities(outputs)) is None:
                continue
            if columns is None:  # those that were cut off are blank
                whole = -(-strips.shape[2] // ALIGNED) if self.module.crops else seen.shape[1]
                columns = torch.zeros(len(strips), whole, seen.shape[2])
                columns[..., 0] = 1
            at = batch.left[:, None] // ALIGNED + torch.arange(seen.shape[1])
            columns[batch.rows[:, None], at] = seen.float().cpu()
        return _in_order(made), columns

    def _batches(
        self, strips: NDArray[np.uint8], known_count: int | None, counts: NDArray[np.int64] | None
    ) -> Iterator[tuple[Batch, Any, Predictions]]:
        """Some strips at a time, the outputs for them, and what they say; see `predict_strips`."""
        if strips.dtype != np.uint8 or strips.ndim != 3 or strips.shape[1] != ROWS:
            raise DataError(
                f"cannot predict {strips.dtype} of shape {strips.shape}: strips are uint8 "
                f"(N, {ROWS}, W), light digits on black in 0..255"
            )
        size = at_once(self.device.batch, strips.shape[2])
        pixels = torch.from_numpy(np.require(strips, requirements=("C", "W")))  # or torch warns
        digits = int(counts.max(initial=0)) if counts is not None else known_count or 0
        crop = self.module.crops and crops_on(self.device.device)
        for batch in cropped_batches(pixels, size, crop, digits):
            with self.device.autocast():
                outputs = self.module(self.device.normalize(batch.strips))
            if isinstance(outputs, torch.Tensor):
                self._check_finite(not outputs.isnan().any())
            if counts is None:
                found = self.module.predict(outputs, known_count)
            else:
                found = self.module.predict_counted(outputs, counts[batch.rows.numpy()])
            self._check_finite((np.abs(found.value) < LARGEST_SUM).all())
            yield batch, outputs, _shifted(found, batch)

    def _check_finite(self, fine: bool | np.bool_) -> None:
        """Refuses outputs that are not: weights that are finite, all of them, may overflow."""
        if not fine:
            raise CheckpointError(
                f"{self.name}: its outputs are not finite, or larger than any sum: its weights are "
                "damaged or diverged; train it again"
            )

    def check_width(self, width: int, known_count: int | None = None) -> Predictions:
        """Predicts a strip, half black and half white, to find out whether the model takes such.

        Raises:
            DataError: It does not take strips of that width, or with so many digits.
            CheckpointError: See `predict_strips`.
        """
        strip = np.zeros((1, ROWS, width), np.uint8)
        strip[..., width // 2 :] = 255
        return self.predict_strips(strip, known_count)


def _shifted(found: Predictions, batch: Batch) -> Predictions:
    """Predictions of a batch, whose positions are those in the strips that it was cut out of."""
    if found.positions is None:
        return found
    moved = found.positions + batch.left.numpy().astype(np.int32)[:, None]
    return replace(found, positions=np.where(found.positions < 0, -1, moved))


def _in_order(found: list[tuple[torch.Tensor, Predictions]]) -> Predictions:
    """Predictions of strips of these rows in the order of the rows."""
    rows = torch.cat([each for each, _ in found]).numpy()
    return Predictions.concatenate([each for _, each in found]).in_order(rows.argsort())


def load_model(
    path: Path | str, device: str = "auto", precision: str = "auto", arch: Collection[str] = ()
) -> LoadedModel:
    """Loads a checkpoint for prediction, or by the name `reader` the bundled weights.

    An existing file of that name wins. Load a model in the process that predicts with it: one that
    was forked after torch has computed hangs, as PyTorch's threads are not there. Processes that
    were started afresh (`spawn`, `forkserver`, joblib's `loky`) may be given a loaded model.

    Args:
        path: The checkpoint, or `reader`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or, for `reader` on a CPU, `int8`.
        arch: Names `module:Class` of architectures from outside digitsum that the checkpoint may
            be of; they are imported.

    Raises:
        CheckpointError: It cannot be read, its weights do not fit its architecture, or it is of an
            architecture from outside digitsum that was not named.
        UsageError: The device is not there, or an architecture cannot be imported.
    """
    named = [arch] if isinstance(arch, str) else arch
    checkpoint = load_checkpoint(locate_checkpoint(path))
    return make_ready(checkpoint, str(path), device, precision, named)


@default_settings()
def make_ready(
    checkpoint: Checkpoint,
    name: str,
    device: str = "auto",
    precision: str = "auto",
    arch: Collection[str] = (),
) -> LoadedModel:
    """The model of a checkpoint in memory, ready to predict; see `load_model`.

    Args:
        checkpoint: From `load_checkpoint`.
        name: For messages.
        device: As `load_model`.
        precision: As `load_model`.
        arch: As `load_model`.

    Raises:
        CheckpointError, UsageError: As `load_model`.
    """
    resolved = DeviceConfig.resolve(device, precision, inference=True)
    cls = architecture_of_checkpoint(checkpoint.arch, name, arch)
    try:
        recipe = Recipe.from_dict(checkpoint.recipe)
        options = check_options(cls, recipe.arch, recipe.options)
        recipe = replace(recipe, options=options)
        module = restore(cls, int(checkpoint.data["width"]), options, checkpoint.weights)
    except (DigitsumError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    parameters = sum(p.numel() for p in module.parameters())
    if module.folds_batch_norm:
        fold_batch_norm(module)
    resolved.place(module)
    if resolved.precision == "int8":  # ranges are measured on strips that come with the package
        with prefixed(name):
            module = module.to_int8(compose(load_digits("builtin"), INT8_SAMPLES).images)
    return LoadedModel(name, module, checkpoint, recipe, resolved, parameters)
