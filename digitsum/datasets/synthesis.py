"""Strips composed from single digits, by the rules measured on the original strips.

Letters: N strips, K digits in a strip, W width in pixels. Digits are 28x28, strips 40 x W.

- Digits are drawn uniformly from all images of the source.
- Left edge of the first: max(0, u), u uniform in -14..14. Each next: 28 + u further right.
  So half of the first digits stand at the left edge, and boxes of neighbours overlap by up to 14.
- Top edge: uniform in 0..11.
- Where digits overlap, pixels are added in uint8 and wrap around at 256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.digits import SIDE, Digits, load_digits
from digitsum.datasets.strips import ROWS, KnownDigits, StripSet
from digitsum.display import counted
from digitsum.errors import OutputExistsError, UsageError
from digitsum.files import whole_file

SWAY = 14  # pixels by which a digit may stand left or right of its place
PITCH = SIDE + SWAY  # pixels that a digit needs at the most
MAX_WIDTH = 2**15 - 1  # positions are kept as int16


@dataclass(frozen=True)
class Truth:
    """What stands in each strip: for evaluation alone."""

    digits: NDArray[np.int8]  # (N, Kmax) padded with -1
    positions: NDArray[np.int16]  # (N, Kmax, 2) as (left, top), padded with -1

    def __repr__(self) -> str:
        return f"Truth(of {counted(len(self.digits), 'strip')})"


@dataclass(frozen=True)
class Composition:
    """Composed strips, their sums, and what stands where."""

    images: NDArray[np.uint8]  # (N, 40, W)
    sums: NDArray[np.int64]  # (N,)
    truth: Truth

    def __repr__(self) -> str:
        strips, width = counted(len(self.sums), "strip"), self.images.shape[2]
        return f"Composition({strips}, {width} pixels wide)"

    def as_strips(self, name: str) -> StripSet:
        """The strips as a set that is trained or scored on; the truth is there for evaluation."""
        return StripSet([name], [self.images], self.sums, KnownDigits(self.truth.digits))


def compose(
    digits: Digits | str,
    strips: int,
    per_strip: tuple[int, int] = (4, 4),
    width: int | None = None,
    seed: int = 0,
    clip: bool = False,
) -> Composition:
    """Composes strips; equal arguments give equal strips on every machine.

    Args:
        digits: Where single digits are drawn from, or the name of it as `load_digits` takes.
        strips: How many strips, from 1 up.
        per_strip: Fewest and most digits in a strip, drawn uniformly from this range.
        width: Width of a strip in pixels; by default 42 for each of the most digits, the least
            that always suffices.
        seed: Random seed of digits and places.
        clip: Let additions stop at 255 where digits overlap, as no original strip does.

    Raises:
        UsageError: The numbers do not fit each other.
        DataError: The source of digits is missing or broken.
    """
    if isinstance(digits, str):
        digits = load_digits(digits)
    fewest, most = per_strip
    width = PITCH * most if width is None else width
    _check_numbers(strips, per_strip, width, seed)

    rng = np.random.default_rng(seed)
    counts = rng.integers(fewest, most + 1, strips)
    chosen = rng.integers(0, len(digits.images), (strips, most))  # rows of digits.images
    sway = rng.integers(-SWAY, SWAY + 1, (strips, most))
    top = rng.integers(0, ROWS - SIDE, (strips, most))
    step = np.concatenate([np.maximum(0, sway[:, :1]), SIDE + sway[:, 1:]], axis=1)
    left = np.cumsum(step, axis=1)

    images = np.zeros((strips, ROWS, width), np.uint8)
    for strip, count, which, x, y in zip(images, counts, chosen, left, top, strict=True):
        for image, i, j in zip(digits.images[which[:count]], x.tolist(), y.tolist(), strict=False):
            box = strip[j : j + SIDE, i : i + SIDE]
            box += np.minimum(image, 255 - box) if clip else image  # else it wraps around at 256

    present = np.arange(most) < counts[:, None]  # (N, Kmax)
    shown = digits.labels[chosen].astype(np.int8)
    sums = np.where(present, shown, 0).sum(axis=1, dtype=np.int64)
    places = np.where(present[..., None], np.stack([left, top], 2), -1).astype(np.int16)
    return Composition(images, sums, Truth(np.where(present, shown, -1).astype(np.int8), places))


def _check_numbers(strips: int, per_strip: tuple[int, int], width: int, seed: int) -> None:
    """Refuses numbers that do not fit each other."""
    fewest, most = per_strip
    if strips < 1 or not 1 <= fewest <= most:
        raise UsageError(
            f"cannot compose {counted(strips, 'strip')} of {fewest} to {counted(most, 'digit')}: "
            "give 1 strip or more, "
            "of 1 digit or more, the fewest first"
        )
    if seed < 0:
        raise UsageError(f"seed {seed} is not allowed: it must be from 0 up")
    if width > MAX_WIDTH:
        raise UsageError(f"width {width} is too large: {MAX_WIDTH} pixels at most")
    if width < PITCH * most:
        need = f"{counted(most, 'digit')} {'needs' if most == 1 else 'need'} {PITCH * most} pixels"
        raise UsageError(f"width {width} is too small: {need}")


def write(made: Composition, folder: Path, files: int) -> None:
    """Writes `dataN.npy`, `labN.npy` and `truthN.npz`, the strips spread evenly over N files.

    Raises:
        UsageError: A file cannot be written.
    """
    for number, rows in enumerate(np.array_split(np.arange(len(made.sums)), files)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in (f"lab{number}.npy", f"truth{number}.npz"):  # never beside new strips
                (folder / old).unlink(missing_ok=True)
            with whole_file(folder / f"data{number}.npy") as stream:
                np.save(stream, made.images[rows], allow_pickle=False)
            with whole_file(folder / f"lab{number}.npy") as stream:
                np.save(stream, made.sums[rows], allow_pickle=False)
            with whole_file(folder / f"truth{number}.npz") as stream:
                digits, positions = made.truth.digits[rows], made.truth.positions[rows]
                np.savez(stream, digits=digits, positions=positions)
        except OSError as error:
            raise UsageError(f"cannot write strips to {folder}: {error.strerror}") from error


def check_folder(folder: Path, files: int, overwrite: bool) -> None:
    """Refuses a folder whose files would be written over, or would mix with the new ones.

    Raises:
        UsageError: It is a file.
        OutputExistsError: It holds such files, and `overwrite` is False or some would be left.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give the name of a folder")
    numbered = re.compile(r"(data|lab)\d*\.(?i:npy)|truth\d*\.(?i:npz)")
    there = sorted(path.name for path in folder.glob("*") if numbered.fullmatch(path.name))
    new = [(f"data{n}.npy", f"lab{n}.npy", f"truth{n}.npz") for n in range(files)]
    left = set(there) - {name for names in new for name in names}
    if there and not overwrite:
        raise OutputExistsError(
            f"{folder} holds {there[0]}: choose another folder, or give --overwrite"
        )
    if left:
        raise OutputExistsError(
            f"{folder} holds {sorted(left)[0]}, which {counted(files, 'new file')} would not "
            "replace: "
            "choose another folder, or remove the old strips"
        )
