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
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.digits import SIDE, Digits, load_digits
from digitsum.datasets.strips import MAX_WIDTH, ROWS, KnownDigits, StripSet
from digitsum.display import counted
from digitsum.errors import OutputExistsError, UsageError
from digitsum.files import SET, cannot_begin, check_output, run_lock, whole_files

SWAY = 14  # pixels by which a digit may stand left or right of its place
PITCH = SIDE + SWAY  # pixels that a digit needs at the most
WRITTEN = re.compile(  # names of what is written here, and in picture_folders
    r"(data|lab|count)\d*\.(?i:npy)|truth\d*\.(?i:npz)|\d{5,}\.png|sums\.csv"
)


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

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many digits each strip holds, (N,)."""
        return np.asarray((self.truth.digits >= 0).sum(1), np.int64)

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


@contextmanager
def reserved_folder(
    folder: Path,
    names: Collection[str],
    overwrite: bool,
    inputs: Iterable[Path] = (),
) -> Iterator[None]:
    """Makes a folder if it is missing, checks it, and keeps other runs from writing strips there.

    If the block fails, a folder that was made is removed.

    Raises:
        UsageError: See `check_folder`; or another run is writing there, or nothing can be written.
        OutputError: The disk is full, or fails.
    """
    inputs = list(inputs)
    check_folder(folder, names, overwrite, inputs)
    with made_folder(folder), run_lock(folder / SET, folder):
        check_folder(folder, names, overwrite, inputs)  # again: another run may have written it
        yield


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Makes a folder if it is missing; if the block fails, one that was made is removed."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_begin(f"into {folder}", error) from error
    try:
        yield
    except BaseException:
        with suppress(OSError):  # there is something in it
            for path in made:
                path.rmdir()
        raise


def names_of(number: int, counts: bool = False) -> list[str]:
    """What the strips of a file, their digits, any counts, and their sums are called."""
    between = [f"count{number}.npy"] if counts else []
    return [f"data{number}.npy", f"truth{number}.npz", *between, f"lab{number}.npy"]


def names_of_files(files: int, counts: bool = False) -> list[str]:
    """The names of so many files of strips and what belongs to them; the sums come last."""
    by_file = [names_of(number, counts) for number in range(files)]
    return [name for kind in zip(*by_file, strict=True) for name in kind]


def write(
    made: Composition, folder: Path, files: int, overwrite: bool = True, counts: bool = False
) -> None:
    """Writes `dataN.npy`, `labN.npy` and `truthN.npz`, the strips spread evenly over N files.

    All of them come, or none; see `files.whole_files`.

    Args:
        made: The strips.
        folder: It is made if missing.
        files: How many files the strips are spread over.
        overwrite: Whether files that are there are replaced.
        counts: Whether `countN.npy` says how many digits each strip holds.

    Raises:
        UsageError: The folder cannot be made.
        OutputError: A file cannot be written.
        OutputExistsError: A file is there, and `overwrite` is False.
    """
    names = names_of_files(files, counts)
    with made_folder(folder), whole_files(folder, names, overwrite) as opened:
        for number, rows in enumerate(np.array_split(np.arange(len(made.sums)), files)):
            with opened(f"data{number}.npy") as stream:
                np.save(stream, made.images[rows], allow_pickle=False)
            with opened(f"truth{number}.npz") as stream:
                digits, positions = made.truth.digits[rows], made.truth.positions[rows]
                np.savez(stream, digits=digits, positions=positions)
            if counts:
                with opened(f"count{number}.npy") as stream:
                    np.save(stream, made.counts[rows], allow_pickle=False)
            with opened(f"lab{number}.npy") as stream:
                np.save(stream, made.sums[rows], allow_pickle=False)


def check_folder(
    folder: Path, names: Collection[str], overwrite: bool, inputs: Iterable[Path] = ()
) -> None:
    """Refuses a folder whose files would be written over, or would mix with the new ones.

    Args:
        folder: It may be missing.
        names: What it is to hold.
        overwrite: Whether old ones may be there.
        inputs: See `files.check_output`.

    Raises:
        UsageError: It is a file, or holds what cannot be replaced.
        OutputExistsError: It holds such files, and `overwrite` is False or some would be left.
    """
    try:
        is_file = folder.exists() and not folder.is_dir()
    except OSError as error:  # a name of hundreds of letters, say
        raise cannot_begin(f"strips to {folder}", error) from error
    if is_file:
        raise UsageError(f"{folder} is a file: give the name of a folder")
    there = sorted(path.name for path in folder.glob("*") if WRITTEN.fullmatch(path.name))
    if there and not overwrite:
        raise OutputExistsError(
            f"{folder} holds {there[0]}: choose another folder, or give --overwrite"
        )
    if left := set(there) - set(names):
        raise OutputExistsError(
            f"{folder} holds {sorted(left)[0]}, which {counted(len(names), 'new file')} would not "
            "replace: choose another folder, or remove the old strips"
        )
    inputs = list(inputs)
    for name in there:
        check_output(folder / name, overwrite, inputs)
