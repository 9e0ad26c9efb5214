"""The reader: what each column of a strip holds, learnt from sums alone.

A small fully convolutional net looks at strips of any width and says, every 4 pixels, with what
probability nothing or one of the digits stands there. The probability of the strip's sum follows
exactly (see `digitsum.columns`), and its logarithm is what training raises. Nobody ever says which
digit stands where.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digitsum.checkpoint import load, locate
from digitsum.columns import SYMBOLS, log_likelihood, most_likely, sum_distribution
from digitsum.errors import CheckpointError, DataError, RecipeError, WeightsError
from digitsum.readings import Readings

ROWS_LEFT = 10  # rows of the feature map, of 40
DIGIT_ROWS = 7  # of them that a digit's box of 28 pixels takes
STRIDE = 4  # pixels between columns
TABLE_CELLS = 2**22  # counts times sums times strips that are read at once: some 300 MB at the most


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions beside an identity (He et al., 2016); shapes are kept.

    Args:
        channels: C.
        rows: Rows of the kernel; 1 where height is folded away.
    """

    def __init__(self, channels: int, rows: int = 3) -> None:
        super().__init__()
        kernel, padding = (rows, 3), (rows // 2, 1)
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.branch(x), inplace=True)


class Reader(nn.Module):
    """Columns of digits from strips of any width.

    Args:
        width: Columns of the strips that it is trained on; it takes any other.
        digits_per_strip: How many digits each strip is known to hold, a fact about the data set
            rather than a label; None if only sums are known. Knowing it is what tells a 0 from
            nothing and keeps a digit in one column.
        guide: Share of the run in which the expected sum and count are fitted too, ever less: at
            first the likelihood is nearly flat.
        weights: `none` (fresh), or what to start from: a reader's checkpoint, or `reader`, the
            weights that ship.

    Raises:
        RecipeError: An option is not allowed.
        WeightsError: The weights cannot be had, or are not a reader's.
    """

    def __init__(
        self,
        width: int,
        digits_per_strip: int | None = 4,
        guide: float = 1 / 6,
        weights: str = "none",
    ) -> None:
        super().__init__()
        columns = -(-width // STRIDE)
        if digits_per_strip is not None and not 1 <= digits_per_strip <= columns:
            raise RecipeError(
                f"digits_per_strip: {digits_per_strip} is not allowed: it must be a whole number "
                f"in 1..{columns}, the columns that the reader sees in a strip, or null"
            )
        if not 0 <= guide <= 1:
            raise RecipeError(f"guide: {guide} is not allowed: it must be in 0..1")
        self.digits_per_strip, self.guide = digits_per_strip, guide
        self.features = nn.Sequential(  # (B, 1, 40, W) -> (B, 128, 1, T)
            convolution(1, 16),
            convolution(16, 32, stride=2),
            convolution(32, 64, stride=2),
            *(Residual(64) for _ in range(3)),
            nn.Conv2d(64, 128, (DIGIT_ROWS, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((ROWS_LEFT - DIGIT_ROWS + 1, 1)),  # at whatever height a digit stands
            Residual(128, rows=1),
        )
        self.head = nn.Linear(128, SYMBOLS)
        with torch.no_grad():
            self.head.bias[0] += 2.3  # nine columns in ten hold nothing
        if weights != "none":
            self._start_from(weights)

    def _start_from(self, weights: str) -> None:
        """Takes the weights of a reader's checkpoint."""
        try:
            checkpoint = load(locate(weights))
            self.load_state_dict(checkpoint.weights)
        except CheckpointError as error:
            raise WeightsError(f"weights {weights}: {error}") from error
        except RuntimeError as error:
            raise WeightsError(
                f"weights {weights} are of '{checkpoint.arch}' and do not fit a reader: give none, "
                "reader, or a reader's checkpoint"
            ) from error

    def forward(self, strips: Tensor) -> Tensor:
        """(B, 1, 40, W) float32 in 0..1 -> (B, T, 11) float32 log-probabilities, T = W / 4."""
        features = self.features(strips).squeeze(2).transpose(1, 2)
        with torch.autocast(strips.device.type, enabled=False):
            log_probs: Tensor = self.head(features.float()).log_softmax(-1)
        return log_probs

    def loss(self, outputs: Tensor, sums: Tensor, progress: float) -> Tensor:
        """Mean -log P(count, sum) of log-probabilities (B, T, 11) against sums (B,), in nats.

        During the first `guide` of the run a smooth L1 on expected sum and count is added.

        Raises:
            DataError: A sum is out of reach of as many columns.
        """
        if self.digits_per_strip is None and sums.max() > (top := 9 * outputs.shape[1]):
            raise DataError(
                f"a label is {int(sums.max())}, but the {outputs.shape[1]} columns of a strip add "
                f"up to {top} at most: correct the labels"
            )
        loss = -log_likelihood(outputs, sums, self.digits_per_strip).mean()
        if progress < self.guide:
            loss = loss + (1 - progress / self.guide) * self._guidance(outputs, sums)
        return loss

    def _guidance(self, outputs: Tensor, sums: Tensor) -> Tensor:
        """Smooth L1 of the expected sum and, where it is known, of the expected count."""
        probs = outputs.exp()[..., 1:].sum(1)  # (B, 10): how often each digit is expected
        loss = F.smooth_l1_loss(probs @ torch.arange(10.0, device=probs.device), sums)
        if self.digits_per_strip is not None:
            count = torch.full_like(sums, self.digits_per_strip)
            loss = loss + F.smooth_l1_loss(probs.sum(1), count)
        return loss

    def read(self, outputs: Tensor, digits_per_strip: int | None = None) -> Readings:
        """Readings of log-probabilities (B, T, 11); None sums over all counts.

        Raises:
            DataError: A strip has fewer columns than it is said to hold digits.
        """
        columns = outputs.shape[1]
        if digits_per_strip is not None and digits_per_strip > columns:
            raise DataError(
                f"{digits_per_strip} digits cannot stand in these strips, read in "
                f"{columns} columns of {STRIDE} pixels: give --digits-per-strip {columns} or less"
            )
        rows = 1 if digits_per_strip is None else digits_per_strip + 1
        top = 9 * (columns if digits_per_strip is None else digits_per_strip)
        at_once = max(1, TABLE_CELLS // (rows * (top + 1)))
        parts = [_read(part, digits_per_strip) for part in torch.split(outputs, at_once)]
        return Readings.concatenate(parts)


def _read(outputs: Tensor, digits_per_strip: int | None) -> Readings:
    """Readings of as many strips as fit into memory at once."""
    distribution = sum_distribution(outputs, digits_per_strip)  # (B, S)
    confidence, sums = distribution.max(1)
    value = distribution @ torch.arange(distribution.shape[1], device=outputs.device).float()
    digits, columns = _left_to_right(most_likely(outputs, sums, digits_per_strip))
    return Readings(
        value=value.cpu().numpy(),
        sum=sums.cpu().numpy(),
        confidence=confidence.cpu().numpy(),
        digits=digits,
        columns=columns,
    )


def _left_to_right(symbols: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Symbols (B, T) as digits and the pixels where they stand, (B, K) each, padded with -1."""
    found = symbols.cpu().numpy()
    rows, columns = np.nonzero(found)
    counts = np.bincount(rows, minlength=len(found))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    digits = np.full((len(found), counts.max(initial=0)), -1, np.int8)
    pixels = np.full(digits.shape, -1, np.int16)
    digits[rows, place] = found[rows, columns] - 1
    pixels[rows, place] = columns * STRIDE
    return digits, pixels
