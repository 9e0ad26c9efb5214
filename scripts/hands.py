"""Strips as many people write and scan them, composed from the digits of a few.

Every strip has a hand of its own: how large, wide, slanted and thick its digits are, whether they
fill a box, how they stand on their line, and what a scanner made of it. The label is the sum.

Letters: N strips, K digits in a strip.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from digitsum.datasets.digits import SIDE, Digits
from digitsum.datasets.strips import ROWS

BOX = 36  # rows and columns that a varied digit has room in
WIDTH = 168
MOST = 6  # digits in a strip


@dataclass(frozen=True)
class Hands:
    """Composed strips.

    Attributes:
        images: (N, 40, 168) uint8.
        sums: (N,) int64.
        counts: (N,) int64.
        digits: (N, 6) int8 padded with -1; for evaluation alone.
    """

    images: NDArray[np.uint8]
    sums: NDArray[np.int64]
    counts: NDArray[np.int64]
    digits: NDArray[np.int8]


def write_strips(
    digits: Digits, count: int, rng: np.random.Generator, per_strip: tuple[int, int] = (1, MOST)
) -> Hands:
    """So many strips in as many hands; six in ten hold four digits, if that many are allowed.

    Args:
        digits: Whose digits they are, drawn uniformly.
        count: N.
        rng: Where all chance comes from.
        per_strip: Fewest and most digits.
    """
    fewest, most = per_strip
    counts = rng.integers(fewest, most + 1, count)
    if fewest <= 4 <= most:
        counts[rng.random(count) < 0.6] = 4
    high = np.clip(rng.normal(20, 3.5, count), 13, 30)
    gap = rng.choice([0, 1, 2], count, p=[0.2, 0.5, 0.3])  # touching, near, wide
    high = np.where(counts > 4, np.minimum(high, 20), high)
    chosen = rng.integers(0, len(digits.images), (count, MOST))
    images = np.zeros((count, ROWS, WIDTH), np.uint8)
    for rows in np.array_split(np.arange(count), -(-count // 2000)):
        drawn = _vary(digits, chosen[rows], high[rows], rng)
        for row, glyphs in zip(rows, drawn, strict=True):
            images[row] = _line(glyphs[: counts[row]], gap[row], high[row], rng)
            images[row] = _scan(images[row], rng)
    shown = np.where(np.arange(MOST) < counts[:, None], digits.labels[chosen].astype(np.int64), -1)
    sums = np.where(shown >= 0, shown, 0).sum(1)
    return Hands(images, sums.astype(np.int64), counts, shown.astype(np.int8))


def extents(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centre (x, y), width and height of the ink in each image (M, H, W), as (M, 4) in pixels."""
    found = []
    for image in images:
        rows, columns = (np.flatnonzero((image > 64).any(axis)) for axis in (1, 0))
        if not len(rows):
            rows = columns = np.array([0, SIDE - 1])
        x, y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
        found.append((x, y, columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1))
    return np.array(found, np.float64)


def _vary(
    digits: Digits, chosen: NDArray[np.int64], high: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The chosen digits (N, K) in the hand of each strip, uint8 (N, K, 36, 36)."""
    images = digits.images[chosen.ravel()]
    grid = _grid(extents(images), high, chosen.shape[1], rng)
    ink = torch.from_numpy(images).float()[:, None] / 255
    ink = F.grid_sample(ink, grid, "bilinear", align_corners=False)
    ink = _change_strokes(ink, chosen.shape[1], rng)
    made = (255 * ink[:, 0]).round().to(torch.uint8).numpy()
    return np.asarray(made.reshape(*chosen.shape, BOX, BOX))


def _grid(
    extent: NDArray[np.float64], high: NDArray[np.float64], each: int, rng: np.random.Generator
) -> Tensor:
    """Where the pixels of varied digits come from, (M, 36, 36, 2) in halves of a digit's image.

    Args:
        extent: Of the digits, see `extents`, (M, 4).
        high: How high digits are in each strip, (M / each,).
        each: Digits of one strip.
        rng: Where chance comes from.
    """
    x, y, wide, tall = extent.T
    strips, count = len(high), len(extent)
    # size: as high as the hand writes, each digit a little otherwise
    height = np.repeat(high, each) * np.clip(rng.normal(1, 0.06, count), 0.8, 1.2)
    natural = wide * height / tall * np.repeat(np.exp(rng.normal(0, 0.12, strips)), each)
    # aspect: in two strips of five digits are stretched towards a square
    filling = np.where(rng.random(strips) < 0.4, rng.uniform(0.5, 1, strips), 0).repeat(each)
    square = height * np.clip(rng.normal(0.97, 0.08, count), 0.75, 1.15)
    width = natural ** (1 - filling) * np.maximum(natural, square) ** filling
    width = np.minimum(width, natural * rng.uniform(1.5, 4, count))
    width, height = np.clip(width, 2, 31), np.clip(height, 10, 31)
    turn = np.deg2rad(np.repeat(rng.normal(0, 4, strips), each) + rng.normal(0, 5, count))
    slant = np.repeat(rng.normal(0, 0.15, strips), each) + rng.normal(0, 0.08, count)

    # from a pixel of the box to one of the digit: leaned back, turned back, then scaled
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [[cos - slant * sin, sin + slant * cos], [-sin, cos]]
    matrix = np.stack([np.stack(row, 1) for row in rows], 1)  # (M, 2, 2)
    matrix *= np.stack([wide / width, tall / height], 1)[:, :, None]
    places = torch.arange(BOX) + 0.5 - BOX / 2
    pixels = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)  # (36, 36, 2)
    # strong local distortion of every second digit: flags, bars and loops bend
    strength = np.where(rng.random(count) < 0.5, rng.uniform(0.5, 2.0, count), 0)
    bends = torch.from_numpy(rng.normal(0, 1, (count, 2, 5, 5)) * strength[:, None, None, None])
    bent = F.interpolate(bends.float(), size=(BOX, BOX), mode="bicubic", align_corners=True)
    source = pixels + bent.permute(0, 2, 3, 1)
    source = torch.einsum("nij,nhwj->nhwi", torch.from_numpy(matrix).float(), source)
    middle = torch.from_numpy(np.stack([x, y], 1)).float()
    return 2 * (source + middle[:, None, None]) / SIDE - 1


def _change_strokes(ink: Tensor, each: int, rng: np.random.Generator) -> Tensor:
    """Thins or thickens the strokes of every second strip, of digits (M, 1, 36, 36) in 0..1.

    They are blurred and cut at another level. Where too little would be left they stay as they are.
    """
    strips = len(ink) // each
    sigma = np.repeat(rng.uniform(0.6, 1.3, strips), each)
    changed = np.repeat(rng.random(strips) < 0.5, each)
    cut = np.repeat(rng.uniform(0.2, 0.62, strips), each)
    soft = _soften(ink, sigma)
    new = ((soft - torch.from_numpy(cut).float()[:, None, None, None]) / 0.4 + 0.5).clamp(0, 1)
    new = new / new.amax((2, 3), keepdim=True).clamp(min=0.2)  # a thin stroke is as bright again
    enough = new.sum((1, 2, 3)) > 0.35 * ink.sum((1, 2, 3))
    use = torch.from_numpy(changed) & enough
    return torch.where(use[:, None, None, None], new, ink).clamp(0, 1)


def _soften(ink: Tensor, sigma: NDArray[np.float64]) -> Tensor:
    """Each image of (M, 1, H, W) blurred by its own Gaussian, of 7 pixels at most."""
    x = torch.arange(-3.0, 4.0)
    row = torch.exp(-(x**2) / (2 * torch.from_numpy(sigma).float()[:, None] ** 2))
    row = row / row.sum(1, keepdim=True)
    flat = ink.transpose(0, 1)  # (1, M, H, W)
    count = len(row)
    down = F.conv2d(flat, row[:, None, :, None], padding=(3, 0), groups=count)
    return F.conv2d(down, row[:, None, None, :], padding=(0, 3), groups=count).transpose(0, 1)


def _line(
    glyphs: NDArray[np.uint8], gap: int, high: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A strip (40, 168) with the glyphs (K, 36, 36) one after the other, on a line that drifts."""
    boxes = []
    for glyph in glyphs:
        columns, rows = (np.flatnonzero((glyph > 40).any(axis)) for axis in (0, 1))
        if len(columns):
            boxes.append(glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        else:
            boxes.append(glyph)
    wide = sum(box.shape[1] for box in boxes)
    low, most = [(-0.08, 0.12), (0.05, 0.5), (0.3, 1.2)][gap]
    gaps = high * rng.uniform(low, most, len(boxes) - 1)
    room = WIDTH - 2 - wide
    if gaps.sum() > room:  # they do not fit: nearer, and where that does not help, overlapping
        gaps = gaps * room / gaps.sum() if room > 0 else np.full(len(gaps), room / len(gaps))
    left = rng.uniform(0, max(0.0, room - gaps.sum())) if rng.random() < 0.6 else rng.uniform(0, 4)
    left = min(left, max(0.0, WIDTH - wide - gaps.sum()))
    base = rng.uniform(0.2, 0.8)  # of the free rows, above the digits
    drift = rng.normal(0, 1.5, len(boxes)) + np.linspace(0, rng.normal(0, 4), len(boxes))
    strip = np.zeros((ROWS, WIDTH), np.uint8)
    for number, box in enumerate(boxes):
        tall, broad = box.shape
        free = ROWS - tall
        top = int(np.clip(round(base * free + drift[number]), 0, free))
        x = int(np.clip(round(left), 0, WIDTH - broad))
        place = strip[top : top + tall, x : x + broad]
        np.maximum(place, box, out=place)
        left += broad + (gaps[number] if number < len(gaps) else 0)
    return strip


def _scan(strip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a scanner makes of a strip (40, W): two in five stay as they are."""
    if rng.random() < 0.4:
        return strip
    ink = strip.astype(np.float32)
    kind = rng.random()
    if kind < 0.35:
        ink = gaussian_filter(ink, rng.uniform(0.4, 1.3))
        ink *= min(255 / max(ink.max(), 1), rng.uniform(0.9, 1.5))
    elif kind < 0.5:  # jagged: few pixels, black and white
        factor = rng.uniform(1.0, 1.45)
        size = (round(WIDTH / factor), round(ROWS / factor))
        small = Image.fromarray(strip).resize(size, Image.Resampling.BILINEAR)
        level = rng.uniform(80, 130)
        black = Image.fromarray((np.asarray(small) > level).astype(np.uint8) * 255)
        ink = np.asarray(black.resize((WIDTH, ROWS), Image.Resampling.NEAREST), np.float32)
    elif kind < 0.65:
        data = io.BytesIO()
        Image.fromarray(strip).save(data, "jpeg", quality=int(rng.integers(12, 60)))
        ink = np.asarray(Image.open(data), np.float32)
        ink = np.where(ink < 20, 0, ink)
    if rng.random() < 0.4:
        ink = ink * rng.uniform(0.5, 1.25)
    if rng.random() < 0.25:
        ink = ink + np.abs(rng.normal(0, rng.uniform(3, 30), ink.shape))
    return np.clip(np.rint(ink), 0, 255).astype(np.uint8)
