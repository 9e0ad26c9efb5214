"""Black columns at the sides of strips, which need not be computed.

A net that takes any width sees the same in what is written whether much or little black is beside
it, and four digits seldom fill a strip. So strips are cut to what is written and a margin, and
strips that come to one width share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MARGIN = 12  # columns that are kept on both sides of what is written, where they are there
ALIGNED = 4  # columns that a net takes as one: it sees the same if it begins at a multiple of them
STEP = 2 * ALIGNED  # by which widths differ: each is another shape for the kernels
COARSE = 4 * ALIGNED  # the same where each strip is cut by itself: wider steps fill batches
DIGIT = 16  # columns that are kept for each digit at least


class Batch(NamedTuple):
    """Strips of one width, cut out of wider ones.

    Attributes:
        rows: Which strips they are, (n,) int64.
        left: The column at which each begins, (n,) int64.
        strips: (n, 40, W or less) uint8.
    """

    rows: Tensor
    left: Tensor
    strips: Tensor


def written(strips: Tensor) -> tuple[Tensor, Tensor]:
    """Where something is written: the first column that is not black, and the one after the last.

    Args:
        strips: (B, H, W) uint8.

    Returns:
        (B,) and (B,) int64; 0 and W of a strip that is all black.
    """
    ink = strips.amax(1).ne(0).to(torch.uint8)
    return ink.argmax(1), ink.shape[1] - ink.flip(1).argmax(1)


def crops_on(device: torch.device) -> bool:
    """Whether it pays there. A GPU replays steps of one shape, and would have to be waited for."""
    return device.type == "cpu"


def cropped_batches(strips: Tensor, size: int, crop: bool, digits: int = 0) -> Iterator[Batch]:
    """All strips in batches of up to `size`; how a strip is cut depends on that strip alone.

    Args:
        strips: (B, H, W) uint8.
        size: Strips in a batch at most.
        crop: Whether they are cut, and come in the order of their widths; else they are as given.
        digits: How many digits a strip is known to hold; columns for so many are kept.
    """
    width, everything = strips.shape[2], torch.arange(len(strips), device=strips.device)
    if not crop or not len(strips):
        for rows, whole in zip(
            torch.split(everything, size), torch.split(strips, size), strict=True
        ):
            yield Batch(rows, torch.zeros_like(rows), whole)
        return
    first, last = written(strips)
    kept = _width(last - first + 2 * MARGIN + ALIGNED - 1, width, digits, COARSE)
    left = torch.minimum((first - MARGIN).clamp(min=0) // ALIGNED * ALIGNED, width - kept)
    for wide in kept.unique().tolist():  # type: ignore[no-untyped-call]
        for rows in torch.split((kept == wide).nonzero().squeeze(1), size):
            yield Batch(rows, left[rows], cut(strips[rows], left[rows], wide))


def random_crop(strips: Tensor, margin: int, digits: int) -> Tensor:
    """Strips cut to the width that the longest of them needs; where, is drawn at random.

    Args:
        strips: (B, H, W) uint8.
        margin: Columns that are kept on both sides of what is written, where they are there.
        digits: See `cropped_batches`.

    Returns:
        (B, H, W or less).
    """
    width = strips.shape[2]
    first, last = written(strips)
    kept = int(_width((last - first).max() + 2 * margin, width, digits, STEP))
    lowest = (last + margin - kept).clamp(0, width - kept)
    highest = torch.maximum((first - margin).clamp(0, width - kept), lowest)
    drawn = torch.rand(len(strips), device=strips.device)
    return cut(strips, lowest + (drawn * (highest - lowest + 1)).long(), kept)


def cut(strips: Tensor, left: Tensor, width: int) -> Tensor:
    """Of each strip (B, H, W) the columns from `left` (B,) on, (B, H, `width`)."""
    if width == strips.shape[2]:
        return strips
    columns = left[:, None] + torch.arange(width, device=strips.device)
    return strips.gather(2, columns[:, None].expand(-1, strips.shape[1], -1))


def _width(needed: Tensor, whole: int, digits: int, step: int) -> Tensor:
    """The columns that are kept of a whole strip: what is cut off is a multiple of `step`."""
    return whole - (whole - needed.clamp(min=DIGIT * digits)).clamp(min=0) // step * step
