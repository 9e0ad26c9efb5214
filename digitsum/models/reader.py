"""The reader: what each column of a strip holds, learnt from sums alone.

A small fully convolutional net gives, for strips of any width and for every 4 pixels of it, the
probability of a blank and of each digit. The probability of the strip's sum follows exactly (see
`digitsum.models.sum_likelihood`), and training maximises its logarithm. No label says which digit
stands where.

Letters: B batch, T columns, K digits in a strip, S possible sums.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import locate_checkpoint
from digitsum.display import counted
from digitsum.errors import CheckpointError, DataError, RecipeError, WeightsError
from digitsum.models import roots_of_unity
from digitsum.models.base import Architecture
from digitsum.models.blocks import Residual, conv_bn_relu
from digitsum.models.sum_likelihood import (
    SYMBOLS,
    count_sum_distribution,
    log_likelihood,
    log_likelihood_of_counts,
    most_likely,
    sum_distribution,
    viterbi,
    viterbi_by_digits,
    wide_log_likelihood,
)
from digitsum.predictions import Predictions

ROWS_LEFT = 10  # rows of the feature map, of 40
DIGIT_ROWS = 7  # of them that a digit's box of 28 pixels takes
STRIDE = 4  # pixels between columns
PLAIN = (nn.BatchNorm2d, nn.ReLU, nn.Identity)  # layers that folding and int8 take in
CALM = 0.2  # of the head's first weights, where no guidance tames columns that begin too sure
REPLAYED_DIGITS = 8  # in float64 the probability of each may fall to 1e-37
CELL = 200  # bytes that a count and a sum of a strip take, besides one for each of its columns
TABLES = 10**8  # bytes of the tables of counts and sums of all strips at once
TABLE = 15 * 10**8  # and of one strip, at most


def _base() -> tuple[list[nn.Module], int]:
    stem = [conv_bn_relu(1, 16), conv_bn_relu(16, 32, stride=2), conv_bn_relu(32, 64, stride=2)]
    return [*stem, *(Residual(64) for _ in range(3))], 64


def _small() -> tuple[list[nn.Module], int]:
    """Halves height and width at once, by a larger kernel, and looks around in one block."""
    stem = [conv_bn_relu(1, 32, kernel=5, stride=2), conv_bn_relu(32, 48, stride=2)]
    return [*stem, Residual(48)], 48


# by size, the layers that make (B, C, ROWS_LEFT, T) of strips (B, 1, 40, W), and C
TRUNKS = {"base": _base, "small": _small}


class Reader(Architecture):
    """Columns of digits from strips of any width.

    Args:
        width: Width of the strips that it is trained on, in pixels; it takes any other.
        digits_per_strip: How many digits each strip is known to hold, a fact about the data set
            rather than a label; None if only sums are known. Knowing it is what tells a 0 from a
            blank and keeps a digit in one column.
        guide: Share of the run in which the expected sum and count are fitted too, ever less: at
            first the likelihood is nearly flat.
        size: `base`, or `small` with a third of its arithmetic. Checkpoints that do not say it are
            of `base`.

    Raises:
        RecipeError: An option is not allowed.
    """

    any_width = crops = True
    folds_batch_norm = True
    export_names = ("value", "sum", "confidence", "count_probability", "digits")

    def __init__(
        self,
        width: int,
        digits_per_strip: int | None = 4,
        guide: float = 1 / 6,
        size: str = "base",
    ) -> None:
        super().__init__(width)
        columns = -(-width // STRIDE)
        if digits_per_strip is not None and not 1 <= digits_per_strip <= columns:
            raise RecipeError(
                f"digits_per_strip: {digits_per_strip} is not allowed: it must be a whole number "
                f"in 1..{columns}, the columns that the reader sees in a strip, or any"
            )
        if not 0 <= guide <= 1:
            raise RecipeError(f"guide: {guide} is not allowed: it must be in 0..1")
        self.digits_per_strip, self.guide = digits_per_strip, guide
        self.replayable = digits_per_strip is not None and digits_per_strip <= REPLAYED_DIGITS
        if size not in TRUNKS:
            raise RecipeError(f"size: {size!r} is not allowed: choose from {', '.join(TRUNKS)}")
        self.size = size
        trunk, channels = TRUNKS[size]()
        self.features = nn.Sequential(  # (B, 1, 40, W) -> (B, 128, 1, T)
            *trunk,
            nn.Conv2d(channels, 128, (DIGIT_ROWS, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((ROWS_LEFT - DIGIT_ROWS + 1, 1)),  # at whatever height a digit stands
            Residual(128, rows=1),
        )
        self.trunk_layers = len(trunk)
        self.head = nn.Linear(128, SYMBOLS)
        with torch.no_grad():
            if not guide:
                self.head.weight *= CALM
            self.head.bias[0] += math.log(9 * 10)  # ten digits share one column in ten

    def load_pretrained(self, weights: str) -> None:
        """Takes the weights of a reader's checkpoint; `reader` names the bundled one.

        Raises:
            WeightsError: The checkpoint cannot be read, or is not a reader's.
        """
        try:
            checkpoint = load_checkpoint(locate_checkpoint(weights))
            self.load_state_dict(checkpoint.weights)
        except CheckpointError as error:
            raise WeightsError(
                f"weights: {error} (a reader takes none, reader, or a reader's checkpoint)"
            ) from error
        except RuntimeError as error:
            raise WeightsError(
                f"weights {weights} are of '{checkpoint.arch}' and do not fit a reader: give none, "
                "reader, or a reader's checkpoint"
            ) from error

    def forward(self, strips: Tensor) -> Tensor:
        """(B, 1, 40, W) float32 in 0..1 -> (B, T, 11) float32 log-probabilities, T = W / 4."""
        return self.read_digits(self.see_strokes(strips))

    def see_strokes(self, strips: Tensor) -> Tensor:
        """The first half of `forward`: (B, 1, 40, W) -> (B, C, 10, T)."""
        seen: Tensor = self.features[: self.trunk_layers](strips)
        return seen

    def read_digits(self, seen: Tensor) -> Tensor:
        """The second half: (B, C, 10, T) -> (B, T, 11). It is where a hand is learnt."""
        features = self.features[self.trunk_layers :](seen).squeeze(2).transpose(1, 2)
        with torch.autocast(seen.device.type, enabled=False):
            log_probs: Tensor = self.head(features.float()).log_softmax(-1)
        return log_probs

    def loss(
        self, outputs: Tensor, sums: Tensor, progress: Any, counts: Tensor | None = None
    ) -> Tensor:
        """Mean -log P(count, sum) of log-probabilities (B, T, 11) against sums (B,), in nats.

        During the first `guide` of the run a smooth L1 on expected sum and count is added.

        Args:
            outputs: From `forward`.
            sums: The labels.
            progress: 0..1 over the run.
            counts: How many digits each strip is known to hold, (B,) int64, in the place of
                `digits_per_strip`. The loss is no `replayable` one then.

        Raises:
            DataError: A sum or a count is out of reach of as many columns.
        """
        if counts is not None:
            self._check_counts(counts, outputs.shape[1])
        elif self.digits_per_strip is None and sums.max() > (top := 9 * outputs.shape[1]):
            raise DataError(
                f"a label is {int(sums.max())}, but {counted(outputs.shape[1], 'column')} can add "
                f"up to {top} at most: correct the labels"
            )
        replayed = isinstance(progress, Tensor)  # then no value decides what is computed
        if counts is not None:
            loss = -log_likelihood_of_counts(outputs, sums, counts).mean()
        elif replayed and self.digits_per_strip is not None:
            loss = -wide_log_likelihood(outputs, sums, self.digits_per_strip).mean()
        else:
            loss = -log_likelihood(outputs, sums, self.digits_per_strip).mean()
        if self.guide and (replayed or progress < self.guide):
            fading = 1 - progress / self.guide
            if replayed:
                fading = fading.clamp(min=0).float()
            loss = loss + fading * self._guidance(outputs, sums, counts)
        return loss

    def _check_counts(self, counts: Tensor, columns: int) -> None:
        if counts.max() > columns:
            raise DataError(
                f"a strip is said to hold {counted(int(counts.max()), 'digit')}, and has "
                f"{counted(columns, 'column')} of {STRIDE} pixels: correct its count"
            )

    def _guidance(self, outputs: Tensor, sums: Tensor, counts: Tensor | None = None) -> Tensor:
        """Smooth L1 of the expected sum and, where it is known, of the expected count."""
        probs = outputs.exp()[..., 1:].sum(1)  # (B, 10): how often each digit is expected
        digits = torch.arange(10, dtype=torch.float32, device=probs.device)
        loss = F.smooth_l1_loss(probs @ digits, sums)
        if counts is not None:
            loss = loss + F.smooth_l1_loss(probs.sum(1), counts.to(probs.dtype))
        elif self.digits_per_strip is not None:
            count = torch.full_like(sums, self.digits_per_strip)
            loss = loss + F.smooth_l1_loss(probs.sum(1), count)
        return loss

    def predict(self, outputs: Tensor, digits_per_strip: int | None = None) -> Predictions:
        """Predictions for log-probabilities (B, T, 11); None sums over all counts.

        Raises:
            DataError: A strip has fewer columns than it is said to hold digits, or there are too
                many of both.
        """
        columns = outputs.shape[1]
        if digits_per_strip is not None and digits_per_strip > columns:
            raise DataError(
                f"{counted(digits_per_strip, 'digit')} cannot stand in these strips, which have "
                f"{counted(columns, 'column')} of {STRIDE} pixels: give --digits-per-strip "
                f"{columns} or less"
            )
        rows = 1 if digits_per_strip is None else digits_per_strip + 1
        top = 9 * (columns if digits_per_strip is None else digits_per_strip)
        table = rows * (top + 1) * (CELL + columns)
        if table > TABLE:
            raise DataError(
                f"to tell {digits_per_strip or 'all'} digits of {counted(columns, 'column')} takes "
                f"{table:,} bytes a strip: cut the strips, or give --digits-per-strip any"
            )
        batches = torch.split(outputs, max(1, TABLES // table))
        return Predictions.concatenate([_predict(batch, digits_per_strip) for batch in batches])

    def column_probabilities(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, T, 11) of blank and the digits 0..9."""
        return outputs.exp()

    def export(self, outputs: Tensor, digits_per_strip: int | None) -> tuple[Tensor, ...]:
        """`digits` (B, T) int8, -1 blank; all else (B,) float32, but `sum` int64.

        As `predict`, without a branch that depends on the outputs.
        """
        top = 9 * (outputs.shape[1] if digits_per_strip is None else digits_per_strip)
        few = digits_per_strip  # a known count that is small
        if few is not None and not roots_of_unity.is_quick(outputs, few):
            few = None
        if few is not None:
            exact, count = roots_of_unity.exported_sum_distribution(outputs, few)
        else:
            table = count_sum_distribution(outputs.double(), digits_per_strip, top)[:, -1]
            total = table.sum(1)  # float64 reaches down to 1e-300
            exact = table / total[:, None].clamp_min(1e-300)
            count = torch.ones_like(total) if digits_per_strip is None else total.clamp(max=1)
        distribution = exact.float()
        confidence, sums = distribution.max(1)
        value = distribution @ torch.arange(top + 1, dtype=torch.float32)
        if few is not None:
            symbols = viterbi_by_digits(outputs, sums, few)
        else:
            symbols = viterbi(outputs, sums, digits_per_strip, top)
        return value, sums, confidence, count.float(), (symbols - 1).to(torch.int8)

    def to_int8(self, samples: NDArray[np.uint8]) -> Architecture:
        """The same net in 8-bit integers; see `digitsum.models.int8`."""
        from digitsum.models.int8 import to_int8

        layers = [
            layer[0] if isinstance(layer, nn.Sequential) else layer for layer in self.features
        ]
        stages = [layer for layer in layers if not isinstance(layer, PLAIN)]
        return to_int8(self, stages, self.head, samples)


def _predict(outputs: Tensor, digits_per_strip: int | None) -> Predictions:
    """Predictions for as many strips as fit into memory at once."""
    distribution, count_probability = sum_distribution(outputs, digits_per_strip)  # (B, S), (B,)
    confidence, sums = distribution.max(1)
    value = distribution @ torch.arange(distribution.shape[1], device=outputs.device).float()
    digits, positions = _left_to_right(most_likely(outputs, sums, digits_per_strip))
    return Predictions(
        value=value.cpu().numpy(),
        sum=sums.cpu().numpy(),
        confidence=confidence.cpu().numpy(),
        count_probability=count_probability.cpu().numpy(),
        digits=digits,
        positions=positions,
    )


def _left_to_right(symbols: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Symbols (B, T) as digits and the pixels where they stand, (B, K) each, padded with -1."""
    found = symbols.cpu().numpy()
    rows, columns = np.nonzero(found)
    counts = np.bincount(rows, minlength=len(found))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    digits = np.full((len(found), counts.max(initial=0)), -1, np.int8)
    positions = np.full(digits.shape, -1, np.int32)
    digits[rows, place] = found[rows, columns] - 1
    positions[rows, place] = columns * STRIDE
    return digits, positions
