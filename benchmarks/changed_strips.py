"""How well strips are read whose digits are changed: twelve kinds of change, three strengths each.

Usage: python benchmarks/changed_strips.py [MODEL] [--name bundled] [--development] [--picture FILE]

The strips are of MNIST's *test* digits, four in each, light on black. At strength 3 a person still
reads them with ease. The settings were written before any model was measured, and are not to be
changed to suit one. Whoever trains against such changes chooses with --development, which takes
MNIST's *training* digits and other random numbers, and which is never written down.

A cell is a kind at one strength, of 1,000 strips: 50 groups of 20. A group has 80 digits to draw
from and one direction, left or right, small or large. The strengths of a kind share their digits,
and their places where the kind leaves these alone. Strips are composed by `digitsum.compose` from
changed digits, or changed when they are composed. Where the layout changes (size, aspect, spacing,
baseline) the digits are set in a line here; where they overlap, the lighter pixel counts.

Random numbers are the same on every machine. Pixels are as far as SciPy and Pillow are; JPEG may
differ a little from one version of its library to another. A reader knows, as always, that there
are as many digits as in its training. With --name, the figures go to
`results/changed_strips.json` and, beside those of other models, into `docs/results.md`.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from measuring import RESULTS, machine, put, show
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from digitsum.checkpoint_paths import locate_checkpoint
from digitsum.cli import options
from digitsum.datasets.digits import SIDE, Digits, load_digits
from digitsum.datasets.strips import ROWS, KnownDigits, StripSet
from digitsum.datasets.synthesis import PITCH, compose
from digitsum.evaluation.scoring import predict_rows, score_rows
from digitsum.inference import LoadedModel, load_model

NAME = "changed_strips"
FILE = RESULTS / f"{NAME}.json"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
SEED, DEVELOPMENT_SEED = 1203, 77
STRIPS, GROUP, POOL, DIGITS = 1000, 20, 80, 4  # strips of a cell and of a group, digits of both
WIDTH = PITCH * DIGITS
STRENGTHS = (1, 2, 3)
UNCHANGED = "unchanged"
FINE = 4  # strokes are made thinner and thicker on a grid this many times as fine
# the pixels around one, from the one above on, clockwise
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
EDGE = 100  # of 255, where the edge of a stroke is
INK = 64  # of 255, from which a pixel belongs to the box that a digit's ink fills

CUBIC = Image.Resampling.BICUBIC

Pixels = NDArray[np.uint8]
Setting = Any  # what a kind has for one strength
ChangeDigits = Callable[[Pixels, Setting, int], Pixels]
ChangeStrips = Callable[[Pixels, Setting, np.random.Generator], Pixels]
SetLine = Callable[[Pixels, Setting, int, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Kind:
    """A kind of change: its settings at strengths 1, 2 and 3, and one way to apply them."""

    settings: tuple[Setting, Setting, Setting]
    digits: ChangeDigits | None = None  # of single digits, before they are composed
    strips: ChangeStrips | None = None  # of composed strips
    line: SetLine | None = None  # instead of composing


# Changes of single digits: images (M, 28, 28), a setting and a direction (0 or 1) -> (M, 28, 28).


def thinner(images: Pixels, pen: float, direction: int) -> Pixels:
    """Strokes as of a pen so many pixels wide, where they are wider. None breaks."""
    ink = _enlarged(images)
    too_wide = [stroke_width(each, pen) - pen for each in ink]
    peeled, left, rounds = ink, ink, np.rint(np.array(too_wide) / 2 * FINE)
    for done in range(SIDE * FINE // 2):
        peeled = np.where((rounds > done)[:, None, None], left, peeled)
        before, left = left, _peeled(left)
        if (before == left).all():  # skeletons are left
            break
    peeled = np.where((rounds > done)[:, None, None], left, peeled)
    around = np.ones((1, FINE - 1, FINE - 1), bool)  # strokes are at least that wide
    thin = _shrunk(peeled | ndimage.binary_dilation(left, around) & ink)
    return np.where((rounds > 0)[:, None, None], thin, images)


def _peeled(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A round of Zhang and Suen's thinning (1984), (M, H, W): one pixel off each side."""
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    flat, wide = padded.reshape(-1), padded.shape[2]
    for goes in _peelable():
        inked = np.flatnonzero(flat)
        code = np.zeros(len(inked), np.uint8)
        for bit, (y, x) in enumerate(RING):
            code |= flat[inked + (y * wide + x)].view(np.uint8) << bit
        flat[inked[goes[code]]] = False
    return padded[:, 1:-1, 1:-1]


@functools.cache
def _peelable() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a pixel goes in each half of a round, (256,), by the bits of those around it."""
    ring = np.arange(256)[:, None] >> np.arange(len(RING)) & 1  # (256, 8)
    count, turns = ring.sum(1), (np.diff(ring, append=ring[:, :1]) == 1).sum(1)
    up, right, down, left = ring[:, ::2].T.astype(bool)
    edge = (count >= 2) & (count <= 6) & (turns == 1)
    return (edge & ~((up & right & down) | (right & down & left)),
            edge & ~((up & right & left) | (up & down & left)))  # fmt: skip


def thicker(images: Pixels, pen: float, direction: int) -> Pixels:
    """Strokes as of a pen so many pixels wide, where they are narrower. Loops stay open."""
    made = images.copy()
    for ink, target in zip(_enlarged(images), made, strict=True):
        added = (pen - stroke_width(ink, pen)) / 2 * FINE
        if added > 0:
            outside = ndimage.distance_transform_edt(~ink)
            half = ndimage.maximum_filter(outside, 2 * int(np.ceil(added)) + 1)  # of a gap, here
            target[:] = _shrunk((outside <= np.clip(half - 0.75 * FINE, 0, added))[None])[0]
    return made


def stroke_width(ink: NDArray[np.bool_], otherwise: float) -> float:
    """The mean width of strokes in an enlarged digit, in pixels; what is given if it is empty."""
    inside = ndimage.distance_transform_edt(ink)
    ridge = ink & (inside == ndimage.maximum_filter(inside, 3))
    return 2 * float(inside[ridge].mean()) / FINE if ridge.any() else otherwise


def _enlarged(images: Pixels) -> NDArray[np.bool_]:
    """Where ink is on a finer grid, (M, 28, 28) -> (M, 112, 112)."""
    large = resized(images, SIDE * FINE)
    return large > EDGE


def resized(images: Pixels, side: int) -> Pixels:
    """Squares (M, S, S) of another side, (M, side, side)."""
    drawn = (Image.fromarray(image).resize((side, side), CUBIC) for image in images)
    return np.stack([np.asarray(image) for image in drawn])


def _shrunk(ink: NDArray[np.bool_]) -> Pixels:
    """The share of ink in each pixel, (M, 112, 112) -> (M, 28, 28), of 255."""
    blocks = ink.reshape(-1, SIDE, FINE, SIDE, FINE)
    return _to_bytes(255 * blocks.mean((2, 4)))


def slanted(images: Pixels, degrees: float, direction: int) -> Pixels:
    """Sheared to the right (direction 0) or left, about the middle of the box."""
    lean = np.tan(np.radians(degrees)) * (1 if direction == 0 else -1)
    return _moved(images, np.array([[1, 0], [lean, 1]]))


def _moved(images: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Images (M, 28, 28) by a matrix (2, 2) of rows and columns that maps results to sources."""
    middle = np.full(2, (SIDE - 1) / 2)
    moved = [
        ndimage.affine_transform(image.astype(np.float32), matrix, middle - matrix @ middle)
        for image in images
    ]
    return _to_bytes(np.stack(moved))


# Changes of the layout: digits (N, 4, 28, 28), a setting, a direction and random numbers
# -> strips (N, 40, 168).


def sized(
    digits: Pixels, heights: tuple[int, int], direction: int, rng: np.random.Generator
) -> Pixels:
    """Digits 20 pixels high made smaller (direction 0) or larger, gaps as well."""
    side = round(SIDE / 20 * heights[direction])
    drawn = resized(digits.reshape(-1, SIDE, SIDE), side)
    gaps, centres = usual(len(digits), rng)
    drawn = drawn.reshape(*digits.shape[:2], side, side)
    return in_lines(drawn, gaps * side / SIDE, centres, rng)


def stretched(
    digits: Pixels, setting: tuple[float, int, float], direction: int, rng: np.random.Generator
) -> Pixels:
    """Squeezed to a share of the width (direction 0), or stretched until the ink fills a square.

    The setting is that share, the side of the square, and by how much a digit is stretched at most:
    a 1 that filled a square would be none.
    """
    share, side, most = setting
    made = np.zeros_like(digits)
    for image, target in zip(
        digits.reshape(-1, SIDE, SIDE), made.reshape(-1, SIDE, SIDE), strict=True
    ):
        top, bottom, left, right = ink_box(image)
        tall, wide = bottom - top, right - left
        if direction == 0:
            high, broad = tall, max(2, round(share * wide))
        else:
            high, broad = (round(min(side, most * length)) for length in (tall, wide))
        ink = Image.fromarray(image[top:bottom, left:right])
        drawn = np.asarray(ink.resize((broad, high), CUBIC))
        y, x = (SIDE - high) // 2, (SIDE - broad) // 2
        target[y : y + high, x : x + broad] = drawn
    return in_lines(made, *usual(len(digits), rng), rng)


def spaced(
    digits: Pixels, gaps: tuple[float, float], direction: int, rng: np.random.Generator
) -> Pixels:
    """Close (direction 0) or wide gaps between inked boxes; below 0 these overlap."""
    drawn, centres = usual(len(digits), rng)
    return in_lines(digits, np.full_like(drawn, gaps[direction]), centres, rng)


def sloping(
    digits: Pixels, setting: tuple[float, float], direction: int, rng: np.random.Generator
) -> Pixels:
    """Lines that fall (direction 0) or rise; the setting is by how many pixels and degrees."""
    sign = 1 if direction == 0 else -1
    drift, angle = sign * setting[0], np.radians(sign * setting[1])
    cos, sin = np.cos(angle), np.sin(angle)
    turned = _moved(digits.reshape(-1, SIDE, SIDE), np.array([[cos, -sin], [sin, cos]]))
    gaps, centres = usual(len(digits), rng)
    along = np.linspace(-0.5, 0.5, DIGITS)
    jitter = (centres - ROWS / 2) / 4
    return in_lines(turned.reshape(digits.shape), gaps, ROWS / 2 + drift * along + jitter, rng)


def usual(strips: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gaps (N, 3) and middles (N, 4) of rows, about as `compose` has them."""
    gaps = rng.uniform(2, 24, (strips, DIGITS - 1))
    return gaps, ROWS / 2 + rng.uniform(-5.5, 5.5, (strips, DIGITS))


def in_lines(
    digits: Pixels, gaps: NDArray[Any], centres: NDArray[Any], rng: np.random.Generator
) -> Pixels:
    """Digits (N, 4, S, S) side by side on strips (N, 40, 168), wherever there is room.

    Args:
        digits: Light on black.
        gaps: Between inked boxes, (N, 3), in pixels; less where the line would not fit.
        centres: The row in the middle of each inked box, (N, 4); another where it would not fit.
        rng: Where lines start.
    """
    strips = np.zeros((len(digits), ROWS, WIDTH), np.uint8)
    starts = rng.random(len(digits))
    for strip, images, own, middles, start in zip(
        strips, digits, gaps, centres, starts, strict=True
    ):
        boxes = [ink_box(image) for image in images]
        wide = sum(right - left for _, _, left, right in boxes)
        own = own * min(1.0, (WIDTH - wide) / max(own.sum(), 1))
        x = start * (WIDTH - wide - own.sum())
        for image, box, gap, middle in zip(images, boxes, [*own, 0.0], middles, strict=True):
            top, bottom, left, right = box
            tall = bottom - top
            y = np.clip(round(middle - tall / 2), 0, ROWS - tall)
            _paste(strip, image, int(y) - top, round(x) - left)
            x += right - left + gap
    return strips


def _paste(strip: Pixels, image: Pixels, y: int, x: int) -> None:
    """Puts an image onto a strip (40, W), its corner anywhere; what lies outside is left out."""
    tall, wide = image.shape
    above, before = max(0, -y), max(0, -x)
    part = strip[max(0, y) : max(0, y + tall), max(0, x) : max(0, x + wide)]
    own = image[above : above + part.shape[0], before : before + part.shape[1]]
    np.maximum(part, own, out=part)


def ink_box(image: Pixels) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a digit's ink; all of the image if there is none."""
    inked = image >= min(INK, max(1, int(image.max())))
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    if not len(rows):
        return 0, image.shape[0], 0, image.shape[1]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


# Changes of composed strips: (N, 40, W), a setting and random numbers -> (N, 40, W).


def dimmed(strips: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Ink of a share of its brightness; the background stays black."""
    return _to_bytes(strips * share)


def blurred(strips: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """A Gaussian of so many pixels over it."""
    return _to_bytes(ndimage.gaussian_filter(strips.astype(np.float32), (0, sigma, sigma)))


def noisy(strips: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise on all pixels, of 255."""
    return _to_bytes(strips + deviation * rng.normal(0, 1, strips.shape))


def jagged(strips: Pixels, square: float, rng: np.random.Generator) -> Pixels:
    """Black and white, in squares of so many pixels."""
    size = round(WIDTH / square), round(ROWS / square)
    made = []
    for strip in strips:
        coarse = np.asarray(Image.fromarray(strip).resize(size, Image.Resampling.BOX))
        cut = Image.fromarray(np.where(coarse > EDGE, 255, 0).astype(np.uint8))
        made.append(np.asarray(cut.resize((WIDTH, ROWS), Image.Resampling.NEAREST)))
    return np.stack(made)


def compressed(strips: Pixels, quality: int, rng: np.random.Generator) -> Pixels:
    """What JPEG of a quality leaves."""
    made = []
    for strip in strips:
        file = io.BytesIO()
        Image.fromarray(strip).save(file, "JPEG", quality=quality)
        made.append(np.asarray(Image.open(file)))
    return np.stack(made)


def _to_bytes(pixels: NDArray[Any]) -> Pixels:
    """Rounded, and cut off at 0 and 255."""
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), np.uint8)


# Twelve, in this order: a place in it is part of a seed.
KINDS = {
    # width of the pen, in pixels; MNIST's strokes are some 3.3 wide
    "thinner": Kind((2.4, 1.8, 1.3), digits=thinner),
    "thicker": Kind((4.2, 4.8, 5.4), digits=thicker),
    "slant": Kind((12.0, 20.0, 28.0), digits=slanted),  # degrees
    "size": Kind(((17, 24), (15, 27), (14, 30)), line=sized),  # height of small and large digits
    "aspect": Kind(((0.85, 20, 1.4), (0.7, 22, 1.8), (0.6, 24, 2.2)), line=stretched),
    "spacing": Kind(((2, 24), (0, 30), (-2, 36)), line=spaced),  # close and wide, in pixels
    "baseline": Kind(((8, 5), (12, 10), (16, 15)), line=sloping),  # pixels and degrees
    "contrast": Kind((0.6, 0.4, 0.25), strips=dimmed),  # share of the brightness
    "blur": Kind((0.8, 1.2, 1.6), strips=blurred),  # pixels
    "noise": Kind((15.0, 30.0, 45.0), strips=noisy),  # of 255
    "jagged": Kind((1.0, 1.5, 2.0), strips=jagged),  # side of a square, in pixels
    "JPEG": Kind((20, 10, 5), strips=compressed),  # quality
}


def changed(
    source: Digits, kind: str, strength: int, strips: int = STRIPS, seed: int = SEED
) -> StripSet:
    """Strips (N, 40, 168) of four digits under a kind of change, with their sums and digits.

    Args:
        source: Single digits.
        kind: One of `KINDS`, or `unchanged`, for which the strength is 0.
        strength: 1 to 3.
        strips: How many, N: a multiple of 20.
        seed: Equal seeds give equal strips.
    """
    number = list(KINDS).index(kind) if kind in KINDS else len(KINDS)
    own = KINDS.get(kind, Kind((None, None, None)))
    setting = own.settings[strength - 1]
    images, digits = [], []
    for group in range(strips // GROUP):
        rng = np.random.default_rng([seed, number, group])
        rows = rng.integers(0, len(source.labels), POOL)
        pool, labels, direction = source.images[rows], source.labels[rows], group % 2
        if own.line:
            chosen = rng.integers(0, POOL, (GROUP, DIGITS))
            made = own.line(pool[chosen], setting, direction, rng)
            shown = labels[chosen].astype(np.int8)
        else:
            pool = own.digits(pool, setting, direction) if own.digits else pool
            per_strip = (DIGITS, DIGITS)
            found = compose(Digits(pool, labels), GROUP, per_strip, seed=int(rng.integers(2**31)))
            made = own.strips(found.images, setting, rng) if own.strips else found.images
            shown = found.truth.digits
        images.append(made)
        digits.append(shown)
    truth = np.concatenate(digits)
    sums = truth.sum(1, dtype=np.int64)
    return StripSet([kind], [np.concatenate(images)], sums, KnownDigits(truth))


def measure(
    model: Annotated[str, typer.Argument(help="A checkpoint, or reader.")] = "reader",
    name: Annotated[
        str, typer.Option(help="Name of the model in the results; none are written if empty.")
    ] = "",
    development: Annotated[
        bool, typer.Option("--development", help="MNIST's training digits, to choose on.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draws a sheet of examples here, and measures nothing.")
    ] = None,
    mnist_root: options.MnistRoot = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, int8 or auto.")] = "fp32",
) -> None:
    """Measures how changed strips are read."""
    if name and development:
        raise SystemExit(
            "--development is to choose on: its figures are not kept, leave out --name"
        )
    source = load_digits("mnist" if development else "mnist-test", mnist_root)
    seed = DEVELOPMENT_SEED if development else SEED
    if picture:
        sheet(source, seed).save(picture)
        return
    begun = time.perf_counter()
    loaded = load_model(model, device, precision)
    found = figures(loaded, source, seed, STRIPS)
    show(f"exact-match % of {model} under change, {STRIPS:,} strips a cell", rows_of(found))
    print(f"{time.perf_counter() - begun:.0f} s")
    if name:
        weights = hashlib.sha256(locate_checkpoint(model).read_bytes()).hexdigest()[:12]
        on = {"device": str(loaded.device), **machine()}
        models = kept() | {name: {"model": Path(model).name, "of": weights, **found, "on": on}}
        document = {"digits": "mnist-test", "strips a cell": STRIPS, "models": models}
        FILE.write_text(json.dumps(document, indent=1) + "\n")
        put(PAGE, NAME, table(models))


def figures(loaded: LoadedModel, source: Digits, seed: int, strips: int) -> dict[str, Any]:
    """Exact-match % and digit % of each cell, and their means over the 36 cells of change."""

    def cell(kind: str, strength: int) -> dict[str, float | None]:
        data = changed(source, kind, strength, strips, seed)
        rows = np.arange(strips)
        metrics = score_rows(predict_rows(loaded, data, rows), data, rows)
        return {"exact-match %": metrics.exact_accuracy, "digit %": metrics.digit_accuracy}

    plain = cell(UNCHANGED, 0)
    kinds = {kind: [cell(kind, strength) for strength in STRENGTHS] for kind in KINDS}
    return {"mean": mean(c for cells in kinds.values() for c in cells),
            UNCHANGED: plain, "kinds": kinds}  # fmt: skip


def mean(cells: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean of each figure over cells; None for one that a model does not have."""
    listed = list(cells)
    return {
        key: None if first is None else statistics.mean(cell[key] for cell in listed)
        for key, first in listed[0].items()
    }


def rows_of(found: Mapping[str, Any]) -> list[dict[str, object]]:
    """The printed table of one model."""

    def row(kind: str, cells: list[Any], together: Mapping[str, Any]) -> dict[str, object]:
        exact = [f"{cell['exact-match %']:.1f}" for cell in cells] or [""] * 3
        digit = together["digit %"]
        return {
            "kind": kind,
            **{f"strength {n}": value for n, value in zip(STRENGTHS, exact, strict=True)},
            "mean": f"{together['exact-match %']:.1f}",
            "digit %, mean": "" if digit is None else f"{digit:.1f}",
        }

    rows = [row(kind, cells, mean(cells)) for kind, cells in found["kinds"].items()]
    return [
        row(UNCHANGED, [], found[UNCHANGED]),
        *rows,
        row("all 36 cells", [], found["mean"]),
    ]


def kept() -> dict[str, Any]:
    """The models that were measured before."""
    return dict(json.loads(FILE.read_text())["models"]) if FILE.exists() else {}


def table(models: Mapping[str, Any]) -> str:
    """The table of the page: kinds below one another, models beside one another."""
    exact = "exact-match %"
    lines = [
        f"| {exact} at strengths 1, 2, 3 | " + " | ".join(models) + " |",
        "|---" * (len(models) + 1) + "|",
    ]

    def line(kind: str, cells: Iterable[str]) -> None:
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")

    line(UNCHANGED, (f"{found[UNCHANGED][exact]:.1f}" for found in models.values()))
    for kind in KINDS:
        line(kind, (", ".join(f"{cell[exact]:.1f}" for cell in found["kinds"][kind])
                    for found in models.values()))  # fmt: skip
    line("**mean of the 36**", (f"**{found['mean'][exact]:.2f}**" for found in models.values()))
    return "\n".join(lines)


def sheet(source: Digits, seed: int = SEED, enlarged: int = 2) -> Image.Image:
    """Two strips, one of each direction, of every kind and strength, with labelled rows."""
    margin, between = 70, 4
    tall, wide = ROWS + between, 2 * (WIDTH + between)
    canvas = Image.new("L", (margin + 3 * wide, tall * (len(KINDS) + 1)), 90)
    labels = []
    for row, kind in enumerate([UNCHANGED, *KINDS]):
        labels.append((row * tall + ROWS // 2, kind))
        for column, strength in enumerate(STRENGTHS):
            data = changed(source, kind, strength, 2 * GROUP, seed)
            for direction in (0, 1):
                strip = data.images()[direction * GROUP + column]
                left = margin + column * wide + direction * (WIDTH + between)
                canvas.paste(Image.fromarray(strip), (left, row * tall))
    large = canvas.resize((canvas.width * enlarged, canvas.height * enlarged), 0)
    pen = ImageDraw.Draw(large)
    for y, kind in labels:
        pen.text((8, enlarged * y - 6), kind, fill=255)
    return large


if __name__ == "__main__":
    typer.run(measure)
