"""Photographs of handwriting that are made, with known digits.

Lines of MNIST's digits are drawn as ink on paper, lit, tilted, and kept as JPEG files, as a
telephone takes them. There are two sets. The test set is of MNIST's *test* digits; figures are
reported on it. The development set is of MNIST's training digits, with other random numbers and
in another style (other sizes, pens, rulings, shadows); choices are made on it. The makers and all
their settings were committed before anything that reads photographs, and are not to be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from digitsum.datasets.digits import Digits

KINDS = {"even": 80, "tilted": 80, "ruled": 80, "uneven": 80, "all": 80, "page": 40}  # pictures

Pixels = NDArray[np.float32]
Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """The ranges that pictures are drawn from. Lengths are in heights of a digit."""

    seed: int
    digits: str  # where they are from
    height: Range = (40, 160)  # of a digit, in pixels
    jitter: float = 0.12  # of the height of single digits
    gap: Range = (0.08, 0.55)  # between the boxes of neighbours
    threshold: Range = (0.25, 0.5)  # of the enlarged digit: where the edge of the ink is
    contrast: Range = (0.55, 0.95)  # of ink on paper
    grain: Range = (1.0, 5.0)  # noise of the sensor, in grey levels
    blur: Range = (0.004, 0.018)
    ruling: Range = (0.08, 0.4)  # contrast of ruled lines
    spacing: Range = (1.15, 2.2)  # of ruled lines
    square: Range = (0.35, 0.8)  # side of a square
    shade: Range = (0.4, 0.75)  # light in a shadow
    falloff: Range = (0.35, 0.7)  # light at the dark end of a gradient
    quality: tuple[int, int] = (60, 95)  # of the JPEG


TEST = Style(seed=2024, digits="mnist-test")
DEVELOPMENT = Style(
    seed=77,
    digits="mnist",
    height=(28, 210),
    jitter=0.18,
    gap=(0.04, 0.8),
    threshold=(0.2, 0.6),
    contrast=(0.4, 0.97),
    grain=(0.5, 7.0),
    blur=(0.0, 0.022),
    ruling=(0.05, 0.5),
    spacing=(0.9, 3.0),
    square=(0.25, 1.1),
    shade=(0.35, 0.85),
    falloff=(0.3, 0.8),
    quality=(50, 97),
)


@dataclass(frozen=True)
class Picture:
    """A picture and what is written on it."""

    name: str
    image: Image.Image
    quality: int
    lines: list[list[int]]


def made(style: Style, kind: str, source: Digits, most: int = 1000) -> Iterator[Picture]:
    """The pictures of a kind, each from random numbers of its own."""
    for number in range(min(most, KINDS[kind])):
        rng = np.random.default_rng([style.seed, list(KINDS).index(kind), number])
        image, lines = photograph(rng, style, kind, source)
        quality = int(rng.integers(style.quality[0], style.quality[1] + 1))
        yield Picture(f"{kind}-{number:03}.jpg", image, quality, lines)


def photograph(
    rng: np.random.Generator, style: Style, kind: str, source: Digits
) -> tuple[Image.Image, list[list[int]]]:
    """A photograph and the digits of each line on it."""
    height = float(np.exp(rng.uniform(*np.log(style.height))))
    if kind == "page":
        height = min(height, 110)
    count, most = (int(rng.integers(3, 7)), 6) if kind == "page" else (1, 7)
    lines, inked = [], []
    for _ in range(count):
        rows = rng.integers(0, len(source.labels), int(rng.integers(3, most + 1)))
        lines.append(source.labels[rows].tolist())
        inked.append(line_of_ink(rng, style, height, source.images[rows]))
    ink = on_sheet(rng, height, inked)  # (H, W), with a margin that is cut off again
    paper = paper_of(rng, (ink.shape[0], ink.shape[1]))
    if kind in ("ruled", "all") or (kind == "page" and rng.random() < 0.3):
        paper = ruled(rng, style, height, paper)
    colour = np.array([[20, 20, 25], [25, 40, 120], [45, 45, 50], [10, 25, 70]][rng.integers(4)])
    share = ink[..., None] * np.float32(rng.uniform(*style.contrast))
    image = to_image(paper * (1 - share) + np.float32(colour) * share)
    image = turned(rng, image, kind, paper_level=tuple(int(v) for v in paper[0, 0]))
    margin = round(0.9 * height)  # what tilting brought into the picture
    image = image.crop((margin, margin, image.width - margin, image.height - margin))
    return exposed(rng, style, kind, height, image), lines


def line_of_ink(
    rng: np.random.Generator, style: Style, height: float, images: NDArray[np.uint8]
) -> Pixels:
    """Digits (K, 28, 28) side by side as ink, 0..1, by one pen."""
    edge, drawn = rng.uniform(*style.threshold), []
    for image in images:
        side = round(28 / 20 * height * rng.uniform(1 - style.jitter, 1 + style.jitter))
        large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        smooth = large.filter(ImageFilter.GaussianBlur(0.5 * side / 28))
        grey = np.asarray(smooth, np.float32) / 255
        ink = np.clip((grey - edge) * side / 28 * 1.2 + 0.5, 0, 1)  # an edge two pixels wide
        columns = np.flatnonzero(ink.max(0) > 0.3)
        drawn.append(ink[:, columns[0] : columns[-1] + 1] if len(columns) else ink)
    gaps = [round(height * rng.uniform(*style.gap)) for _ in drawn]
    shifts = [round(height * rng.uniform(0.1, 0.25)) for _ in drawn]
    tall = max(ink.shape[0] + shift for ink, shift in zip(drawn, shifts, strict=True))
    line = np.zeros((tall, sum(ink.shape[1] for ink in drawn) + sum(gaps)), np.float32)
    left = 0
    for ink, gap, shift in zip(drawn, gaps, shifts, strict=True):
        part = line[shift : shift + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(part, ink, out=part)
        left += ink.shape[1] + gap
    return line


def on_sheet(rng: np.random.Generator, height: float, inked: Sequence[Pixels]) -> Pixels:
    """Lines of ink below one another on a sheet with margins."""
    step = rng.uniform(1.5, 2.4)  # between the tops of lines; a line is some 1.6 high with its box
    side = round(height * rng.uniform(1.3, 3.0)) + round(0.9 * height)
    wide = max(line.shape[1] for line in inked) + 2 * side
    tall = round(height * (step * len(inked) + 0.8)) + 2 * side
    sheet = np.zeros((tall, wide), np.float32)
    for number, line in enumerate(inked):
        top = side + round(height * step * number)
        left = side + round(rng.uniform(0, min(height, wide - 2 * side - line.shape[1] + 1)))
        left = min(left, wide - line.shape[1])
        part = sheet[top : top + line.shape[0], left : left + line.shape[1]]
        np.maximum(part, line, out=part)
    return sheet


def paper_of(rng: np.random.Generator, shape: tuple[int, int]) -> Pixels:
    """Paper (H, W, 3), from cream to grey, with fibres."""
    level, warm = rng.uniform(185, 245), rng.uniform(0, 0.1)
    colour = level * np.array([1.0, 1 - 0.3 * warm, 1 - warm])
    coarse = rng.normal(0, rng.uniform(0.3, 2.0), (shape[0] // 3 + 1, shape[1] // 3 + 1))
    fibres = Image.fromarray(coarse.astype(np.float32)).resize((shape[1], shape[0]))
    return np.asarray(colour[None, None] + np.asarray(fibres)[..., None], np.float32)


def ruled(rng: np.random.Generator, style: Style, height: float, paper: Pixels) -> Pixels:
    """Paper with ruled lines or squares, some with a margin line or a frame."""
    tall, wide = paper.shape[:2]
    marks = np.zeros((tall, wide), np.float32)
    squared = rng.random() < 0.45
    step = height * rng.uniform(*(style.square if squared else style.spacing))
    thick = max(1.0, height * rng.uniform(0.012, 0.035))
    marks[_stripes(tall, step, thick, rng)] = 1
    if squared:
        marks[:, _stripes(wide, step, thick, rng)] = 1
    colours = np.array([[90, 130, 200], [120, 120, 125], [60, 150, 170], [150, 110, 160]])
    share = marks[..., None] * np.float32(rng.uniform(*style.ruling) / 0.5)
    paper = paper * (1 - share) + share * colours[rng.integers(4)].astype(np.float32)
    if rng.random() < 0.3:  # a frame around the line, or a red margin line left of it
        level, thick = np.array([70, 70, 70], np.float32), round(max(2, height * 0.03))
        near = round(height * rng.uniform(1.25, 1.5))
        if rng.random() < 0.5:
            paper[:, near : near + thick] = [200, 80, 80]
        else:
            paper[near : near + thick, near:-near] = paper[-near - thick : -near, near:-near] = (
                level
            )
            paper[near:-near, near : near + thick] = paper[near:-near, -near - thick : -near] = (
                level
            )
    return paper.astype(np.float32)


def _stripes(size: int, step: float, thick: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    return (np.arange(size) + rng.uniform(0, step)) % step < thick


def turned(
    rng: np.random.Generator, image: Image.Image, kind: str, paper_level: tuple[int, ...]
) -> Image.Image:
    """The image tilted, or seen from a side, as its kind asks for."""
    wide, tall = image.size
    if kind in ("tilted", "all", "page"):
        angle = rng.uniform(-5, 5) * (0.6 if kind == "page" else 1)
        image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=paper_level)
    if kind in ("all", "page"):
        reach = 0.03 * min(wide, tall)
        corners = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], float)
        seen = corners + rng.uniform(-reach, reach, (4, 2))
        image = image.transform(
            image.size,
            Image.Transform.PERSPECTIVE,
            _homography(corners, seen),
            Image.Resampling.BICUBIC,
            fillcolor=paper_level,
        )
    return image


def _homography(seen: NDArray[np.float64], source: NDArray[np.float64]) -> list[float]:
    """The eight numbers that Pillow takes to move corners (4, 2)."""
    rows, right = [], []
    for (x, y), (u, v) in zip(seen, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return [float(v) for v in np.linalg.solve(np.array(rows), np.array(right))]


def exposed(
    rng: np.random.Generator, style: Style, kind: str, height: float, image: Image.Image
) -> Image.Image:
    """What the sensor makes of it: light, blur and noise."""
    wide, tall = image.size
    light = np.ones((tall, wide), np.float32)
    if kind in ("uneven", "all"):
        light = lit(rng, style, wide, tall)
    elif kind == "page":
        light = np.sqrt(lit(rng, style, wide, tall))
    blurred = image.filter(ImageFilter.GaussianBlur(height * rng.uniform(*style.blur)))
    pixels = np.asarray(blurred, np.float32) * light[..., None]
    noise = rng.normal(0, rng.uniform(*style.grain), (tall, wide, 1))
    coloured = rng.normal(0, 1.0, (tall, wide, 3))
    return to_image(pixels + (noise + coloured).astype(np.float32))


def lit(rng: np.random.Generator, style: Style, wide: int, tall: int) -> Pixels:
    """Light (H, W), 1 at its brightest: a gradient, a vignette, and up to two shadows."""
    y, x = np.mgrid[0:tall, 0:wide].astype(np.float32)
    x, y = (x - wide / 2) / max(wide, tall), (y - tall / 2) / max(wide, tall)

    def across(angle: float) -> Pixels:
        along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
        return np.asarray((along - along.min()) / np.ptp(along), np.float32)

    dark = rng.uniform(*style.falloff)
    light = dark + (1 - dark) * across(rng.uniform(0, 2 * np.pi))
    light *= 1 - rng.uniform(0, 0.35) * (x**2 + y**2) / 0.5
    for _ in range(int(rng.integers(0, 3))):
        soft, deep = rng.uniform(0.01, 0.15), rng.uniform(*style.shade)
        at = (across(rng.uniform(0, 2 * np.pi)) - rng.uniform(0.2, 0.8)) / soft
        light *= deep + (1 - deep) / (1 + np.exp(-np.clip(4 * at, -30, 30)))
    return np.asarray(light / light.max(), np.float32)


def to_image(pixels: Pixels) -> Image.Image:
    """Pixels (H, W, 3) in 0..255 as an image."""
    return Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
