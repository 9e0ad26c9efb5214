"""The digits of "Optical Recognition of Handwritten Digits", brought to MNIST's manner.

They are another hand in full resolution: 1,934 digits of thirty writers, in black and white, 32x32
pixels, each filling its box. digitsum holds no copy of them. Get `optdigits-orig.tra.Z` from
https://archive.ics.uci.edu/dataset/80 and uncompress it (E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, CC BY 4.0). scikit-learn's digits are of thirteen other writers of that
collection.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from digitsum.datasets.digits import SIDE, Digits, from_counts
from digitsum.errors import DataError

SCAN = 32  # rows and columns of a bitmap
BLOCK = 4  # rows and columns of the blocks that scikit-learn's digits count
BOX = 20  # rows and columns that MNIST scales its digits to
MIDDLE = 14.5  # where MNIST has the centre of mass, from both edges
WHERE = "optdigits-orig.tra.Z of https://archive.ics.uci.edu/dataset/80, uncompressed"
ROW, LABEL = re.compile(rf"[01]{{{SCAN}}}"), re.compile(r"\d")


def optdigits(path: Path | str, coarse: bool = False) -> Digits:
    """The digits of a file, in its order, as 28x28 grey images.

    Each is scaled to 20x20 pixels with antialiasing, and placed in 28x28 by its centre of mass, as
    MNIST's digits are.

    Args:
        path: `optdigits-orig.tra` as UCI has it, uncompressed; or an `.npz` file with `bitmaps`
            (M, 32, 4), the same in packed bits, and `labels` (M,).
        coarse: Whether they are first made as coarse as scikit-learn's digits, which are of other
            writers of this collection, and then drawn as these are.

    Raises:
        DataError: The file is missing, or of another kind.
    """
    path = Path(path)
    try:
        bitmaps, labels = _packed(path) if path.suffix == ".npz" else _text(path)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} does not hold optdigits ({error}): get {WHERE}") from error
    fits = bitmaps.shape[1:] == (SCAN, SCAN) and labels.shape == bitmaps.shape[:1] and len(labels)
    if not fits or not np.isin(labels, range(10)).all():
        seen = f"bitmaps {bitmaps.shape}, labels {labels.shape}"
        raise DataError(f"{path} does not hold optdigits ({seen}): get {WHERE}")
    if coarse:
        blocks = bitmaps.reshape(-1, SCAN // BLOCK, BLOCK, SCAN // BLOCK, BLOCK)
        return Digits(from_counts(blocks.sum((2, 4), dtype=np.float64)), labels.astype(np.uint8))
    return Digits(_centred(_scaled(bitmaps)), labels.astype(np.uint8))


def _packed(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bitmaps (M, 32, 32) of 0 and 1, and labels (M,)."""
    with np.load(path) as stored:
        return np.unpackbits(stored["bitmaps"], axis=2), stored["labels"]


def _text(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same from text: a head, then for each digit 32 lines of bits and one of its label."""
    lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    rows = "".join(line for line in lines if ROW.fullmatch(line))
    labels = "".join(line for line in lines if LABEL.fullmatch(line))
    bits = np.frombuffer(rows.encode(), np.uint8) - ord("0")
    return bits.reshape(-1, SCAN, SCAN), np.frombuffer(labels.encode(), np.uint8) - ord("0")


def _scaled(bitmaps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bitmaps (M, 32, 32) of 0 and 1 -> grey images (M, 20, 20)."""
    grey = 255 * torch.from_numpy(bitmaps).float()[:, None]
    small = F.interpolate(grey, (BOX, BOX), mode="bicubic", antialias=True, align_corners=False)
    return small[:, 0].clamp(0, 255).round().to(torch.uint8).numpy()


def _centred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (M, 20, 20) -> (M, 28, 28), moved by whole pixels."""
    placed = np.zeros((len(images), SIDE, SIDE), np.uint8)
    middles = np.arange(BOX) + 0.5
    for image, place in zip(images, placed, strict=True):
        mass = max(1, int(image.sum(dtype=np.int64)))
        centre = [image.sum(axis, dtype=np.int64) @ middles / mass for axis in (1, 0)]
        top, left = (int(np.clip(round(MIDDLE - at), 0, SIDE - BOX)) for at in centre)
        place[top : top + BOX, left : left + BOX] = image
    return placed
