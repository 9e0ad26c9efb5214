"""The strips of one training run, in memory once, and which of them train and which validate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from digitsum.cropping import crops_on, random_crop, written
from digitsum.datasets.split import Split, split_rows
from digitsum.datasets.strips import StripSet, strip_hashes
from digitsum.display import counted
from digitsum.errors import DataError, DataWarning, UsageError
from digitsum.recipe import Recipe
from digitsum.training.distributed import World

TOGETHER = 8  # batches that are sorted by width together
BY_CHANCE = 0.01  # of the validation strips: strips of one digit may be alike


class TrainingData:
    """Strips and sums on the device that trains, and the rows of both splits.

    Args:
        data: The strips; on the CPU they are not copied, unless they are read-only.
        recipe: How they are split, and how many train at most.
        device: Where they go.
        world: The processes that share each batch.
        split: The rows of both splits; by default those of the recipe's seed and limit.

    Attributes:
        pixels: (N, 40, W) uint8.
        sums: (N,) float32.
        counts: (N,) int64, how many digits each strip holds, where that is known and says more
            than the recipe; else None.
        train: Row numbers of the training split, int64.
        val: Row numbers of the validation split, int64.
        digits: How many digits a strip holds at most, as far as that is known.

    Raises:
        DataError: They are too few.
        UsageError: Batches are too small for so many processes.
    """

    def __init__(
        self,
        data: StripSet,
        recipe: Recipe,
        device: torch.device,
        world: World,
        split: Split | None = None,
    ) -> None:
        self.least = 2 * world.size  # batch norm cannot estimate a variance from one strip
        if world.size > 1 and recipe.batch_size < self.least:
            raise UsageError(
                f"--batch-size {recipe.batch_size} is too small for {world.size} processes: give "
                f"{self.least} or more, the batch is shared among them"
            )
        self.world, self.size = world, recipe.batch_size
        split = split or split_rows(len(data), recipe.split_seed, recipe.limit)
        self.data, self.seed, self.device = data, recipe.split_seed, device
        self.train, self.val = split.train, split.val
        if world.size > 1 and len(self.train) < self.least:
            raise DataError(
                f"too few training strips for {world.size} processes: {len(self.train)} seen, give "
                f"{self.least} or more"
            )
        # a copy of arrays that are read-only, as those that joblib shares: torch warns of them
        images = np.require(data.images(), requirements="W")
        self.pixels = torch.from_numpy(images).to(device)
        self.sums = torch.from_numpy(data.sums.astype(np.float32)).to(device)
        self.counts: Tensor | None = None
        if data.counts is not None and (data.counts != recipe.digits_per_strip).any():
            self.counts = torch.from_numpy(data.counts.astype(np.int64)).to(device)
        self.trained_on, self.selected_on = self._hashes(self.train), self._hashes(self.val)
        self._warn_of_copies()
        digits = np.ceil(data.sums / 9) if data.counts is None else data.counts
        self.digits = max(recipe.digits_per_strip or 0, int(digits.max(initial=0)))
        self.margin = recipe.crop if crops_on(device) else 0
        if self.margin:
            first, last = written(self.pixels)
            self.lengths = last - first

    def _hashes(self, rows: NDArray[np.int64]) -> Tensor:
        """Hashes by which strips that the run has seen are known later."""
        hashes = [strip_hashes(chunk) for chunk in self.data.chunks(np.sort(rows))]
        return torch.from_numpy(np.unique(np.concatenate(hashes)))

    def _warn_of_copies(self) -> None:
        """Says so if strips stand on both sides of the split, where they flatter the run."""
        shared = np.intersect1d(self.trained_on, self.selected_on, assume_unique=True)
        if len(shared) > BY_CHANCE * len(self.selected_on) and self.world.is_main:
            warnings.warn(
                f"{len(shared):,} of {len(self.selected_on):,} different validation strips "
                f"{'is a training strip' if len(shared) == 1 else 'are training strips'} too: "
                "validation flatters the run; remove copies from the data",
                DataWarning,
                stacklevel=2,
            )

    def steps(self) -> int:
        """Batches in an epoch."""
        return sum(1 for _ in batches(torch.from_numpy(self.train), self.size, self.least))

    def shuffled(self) -> Iterator[Tensor]:
        """Training rows in batches, in a new random order, the same in all processes."""
        rows = torch.from_numpy(self.train).to(self.device)
        order = rows[torch.randperm(len(rows), device=self.device)]
        if self.margin:
            order = self._alike_together(order)
        return batches(self.world.broadcast(order), self.size, self.least)

    def _alike_together(self, order: Tensor) -> Tensor:
        """The order with strips of like length in one batch; it stays random over some batches."""
        sorted_chunks = []
        for chunk in torch.split(order, TOGETHER * self.size):
            chunk = chunk[self.lengths[chunk].argsort()]
            full = len(chunk) // self.size
            whole, rest = chunk[: full * self.size].view(full, self.size), chunk[full * self.size :]
            shuffled = whole[torch.randperm(full, device=self.device)].flatten()
            sorted_chunks += [shuffled, rest]
        return torch.cat(sorted_chunks)

    def strips(self, rows: Tensor) -> Tensor:
        """Strips of these rows to train on, (B, 40, W or less) uint8, as the recipe crops them."""
        strips = self.pixels[rows]
        return random_crop(strips, self.margin, self.digits) if self.margin else strips

    def most_common_share(self) -> float:
        """Share of the strips whose sum is the most common one."""
        counts = np.unique(self.data.sums, return_counts=True)[1]
        return float(counts.max() / len(self.data))

    def load_split(self, split: dict[str, Any]) -> None:
        """Takes over the rows that a checkpoint holds.

        Raises:
            ValueError: They are not as many as this split has, or one stands there twice.
        """
        train, val = (split[name].numpy().astype(np.int64) for name in ("train", "val"))
        rows = np.unique(np.concatenate([train, val]))
        if (len(train), len(val)) != (len(self.train), len(self.val)) or (
            len(rows) < len(train) + len(val) or rows[-1] >= len(self.data)
        ):
            raise ValueError(f"split does not hold {len(self.train)} and {len(self.val)} rows")
        self.train, self.val = train, val

    def source(self) -> dict[str, Any]:
        """What a checkpoint says of the strips."""
        return {
            "name": self.data.name,
            "count": len(self.data),
            "width": self.data.width,
            "fingerprint": self.data.fingerprint,
        }

    def split(self) -> dict[str, Any]:
        """What a checkpoint says of the two splits."""
        return {
            "seed": self.seed,
            "train": torch.from_numpy(self.train.astype(np.int32)),
            "val": torch.from_numpy(self.val.astype(np.int32)),
            "trained_on": self.trained_on,
            "selected_on": self.selected_on,
        }


def batches(rows: Tensor, size: int, least: int = 2) -> Iterator[Tensor]:
    """Rows in batches; a last one of fewer than `least` rows joins the one before it."""
    made = list(torch.split(rows, size))
    if len(made) > 1 and len(made[-1]) < least:
        made[-2:] = [torch.cat(made[-2:])]
    yield from made


def told_by_counts(recipe: Recipe, data: StripSet) -> Recipe:
    """The recipe with the number of digits that the counts of the strips tell, if there are any.

    That is None where they differ: a model must not be asked for one number in all strips later.
    """
    if data.counts is None or recipe.digits_per_strip is None:
        return recipe
    low, high = int(data.counts.min()), int(data.counts.max())
    known = high if low == high else None
    return replace(recipe, options={**recipe.options, "digits_per_strip": known})


def check_sums(data: StripSet, recipe: Recipe) -> None:
    """Refuses sums that the known number of digits, of all strips or of each, cannot reach.

    Raises:
        DataError: There is one.
    """
    if data.counts is not None:
        data.with_counts(data.counts)  # which checks them
    digits = recipe.digits_per_strip
    if digits is not None and data.sums.max() > 9 * digits:
        raise DataError(
            f"a label is {data.sums.max()}, but {counted(digits, 'digit')} can add up to "
            f"{9 * digits} at most: correct the labels, or give --digits-per-strip N|any"
        )
