"""Pairs of files: strips in `dataN.npy`, their sums in `labN.npy`.

What may lie beside them: `countN.npy`, how many digits each strip holds, and the truth in
`truthN.npz`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.appearance import warn_of_appearance
from digitsum.datasets.arrays import ImageFile, read_labels
from digitsum.datasets.counts import as_counts, check_form, joined_counts
from digitsum.datasets.fitting import FittedFile, open_strips
from digitsum.datasets.folders import entries, left_out
from digitsum.datasets.npy import Header, NpyFile, Stamp
from digitsum.datasets.npz import NpzFile
from digitsum.datasets.strips import StripSet, TruthOf
from digitsum.display import counted
from digitsum.errors import DataError, UsageError
from digitsum.file_kinds import NPY, first_bytes, obstacle, own_kind, recognized
from digitsum.predictions import pad_and_join

SOURCES = (
    "a folder with dataN.npy and labN.npy, a folder of pictures with sums.csv, one .npy file with "
    "its labels beside it, or a name: builtin, mnist, mnist-test"
)
NUMBERED = re.compile(r"data(\d{0,300})\.(?i:npy)")


def find_pairs(source: Path, labels: Path | None = None) -> list[tuple[Path, Path]]:
    """Images and their labels: those of a folder in numeric order, or of one file.

    Args:
        source: A folder of `dataN.npy` and `labN.npy`, or one `.npy` file of strips.
        labels: Labels of that one file; by default beside it, `lab` or `labels` for `data`.

    Raises:
        UsageError: Labels are named for a folder.
        DataError: Nothing is there, or labels are missing.
    """
    try:
        is_folder, exists = source.is_dir(), source.exists()
    except (OSError, ValueError) as error:  # a name of thousands of letters, say
        raise DataError(f"{source}: {getattr(error, 'strerror', error)}") from error
    if is_folder:
        if labels is not None:
            raise UsageError(
                f"--labels goes with one file of strips, not with the folder {source}; for a "
                "folder of pictures it is a .csv"
            )
        numbered = [
            (found, path) for path in entries(source) if (found := NUMBERED.fullmatch(path.name))
        ]
        if not numbered:
            raise DataError(
                f"{source} holds no dataN.npy: expected data0.npy, lab0.npy and so on, or pictures "
                "with their sums in sums.csv"
            )
        numbered.sort(key=lambda found: (int(found[0][1] or 0), found[1].name))
        return [(path, _labels_beside(path)) for _, path in numbered]
    if not exists:
        raise DataError(f"{source} does not exist: give {SOURCES}")
    if source.suffix.lower() != ".npy" and (seen := _not_npy(source)):
        raise DataError(f"{source} {seen}; give {SOURCES}")
    return [(source, labels or _labels_beside(source))]


def _not_npy(path: Path) -> str | None:
    """Why a file is no `.npy`, whatever its name is; None if it is one."""
    if reason := obstacle(path):
        return reason
    if own_kind(first_bytes(path)) == NPY:
        return None
    return f"is {recognized(path, NPY) or 'no .npy file'}"


def notes_on(source: Path, pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """A line about what a folder holds besides these pairs and what belongs to them, if any."""
    if not source.is_dir():
        return []
    taken = [path for pair in pairs for path in (*pair, _truth_path(pair[0]), counts_path(pair[0]))]
    return left_out(source, taken, "dataN.npy with their labN.npy")


def open_pairs(pairs: Sequence[tuple[Path, Path]], name: list[str], fit: bool = False) -> StripSet:
    """Opens and checks pairs of images and labels as one set, with the counts beside them.

    Args:
        pairs: From `find_pairs`.
        name: What the set is called.
        fit: Whether strips of other heights are brought to 40 rows; see `fitting`.

    Raises:
        DataError: A file is broken, lengths differ, or widths differ.
    """
    files: list[ImageFile | FittedFile] = []
    sums: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64] | None] = []
    for images, labels in pairs:
        file = open_strips(images, fit)
        files.append(file)
        sums.append(read_labels(labels, file))
        counts.append(read_counts(file, sums[-1]))
        if file.shape[2] != files[0].shape[2]:
            raise DataError(
                f"{images} is {file.shape[2]} pixels wide and {files[0].path} "
                f"{files[0].shape[2]}: strips of one set need one width"
            )
    warn_of_appearance(files, " ".join(name))
    truths = [
        FileTruth(Stamp.of(_truth_path(file.path)), known, file.shape[2])
        for file, known in zip(files, sums, strict=True)
    ]
    return StripSet(
        name,
        files,
        np.concatenate(sums),
        JoinedTruth(truths),
        counts=joined_counts(counts, [str(file.path) for file in files]),
    )


def read_counts(
    strips: ImageFile | FittedFile, sums: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """The counts (N,) in `count….npy` beside `data….npy`; None if there is no such file.

    Args:
        strips: Those of the file.
        sums: Their labels, where there are any.

    Raises:
        DataError: They cannot be read, or are not possible; see `counts.as_counts`.
    """
    path = counts_path(strips.path)
    if path == strips.path or not path.exists():
        return None
    stored = NpyFile.open(path)
    check_form(stored, path)
    if stored.shape[:1] != strips.shape[:1]:  # before any is read
        raise DataError(
            f"{path} holds counts of shape {stored.shape} for the "
            f"{counted(strips.shape[0], 'strip')} of {strips.path}: every strip needs one"
        )
    return as_counts(stored[:], path, sums, strips.shape[2])


def counts_path(images: Path) -> Path:
    """`count….npy` for `data….npy`, whether there is one or not."""
    return images.with_name(images.name.replace("data", "count", 1))


@dataclass
class FileTruth:
    """The digits in the strips of one file, read once, when they are asked for.

    Args:
        stamp: Of a `truthN.npz`, which may be missing.
        sums: The labels of its strips, (N,).
        width: Of the strips in pixels; none has room for as many digits.
    """

    stamp: Stamp
    sums: NDArray[np.int64]
    width: int
    _known: NDArray[np.int8] | None = None

    def __call__(self) -> NDArray[np.int8] | None:
        if self._known is None:
            self.stamp.check()
            if self.stamp.seen is not None:
                self._known = read_truth(self.stamp, self.sums, self.width)
        return self._known


@dataclass(frozen=True)
class JoinedTruth:
    """The digits of all sets, (N, K) padded with -1 to the longest; None if a set has none."""

    truths: Sequence[TruthOf]

    def __call__(self) -> NDArray[np.int8] | None:
        known = [digits for truth in self.truths if (digits := truth()) is not None]
        return pad_and_join(known) if len(known) == len(self.truths) else None


def _truth_path(images: Path) -> Path:
    return images.with_name(images.name.replace("data", "truth", 1)).with_suffix(".npz")


def read_truth(stamp: Stamp, sums: NDArray[np.int64], width: int) -> NDArray[np.int8]:
    """`digits` of a `truthN.npz`: int8 (N, K), padded with -1. For evaluation alone.

    Raises:
        DataError: They are missing, of another shape or type, or do not add up to the sums.
    """
    path = stamp.path
    if reason := obstacle(stamp.file):
        raise DataError(f"{path} {reason}: remove it")

    def check(header: Header) -> None:
        fits = header.shape[:1] == sums.shape and len(header.shape) == 2
        if header.dtype != np.int8 or not fits or header.shape[1] > width:
            raise DataError(
                f"{path} holds digits {header.dtype} of shape {header.shape}: expected int8 "
                f"({len(sums)}, K), K at most {width}, padded with -1; remove it"
            )

    try:
        with stamp.opened() as stream, NpzFile(stream) as file:
            digits = file.read("digits", check)
    except DataError:
        raise
    except Exception as error:  # zip and NumPy raise many kinds
        raise DataError(f"{path} holds no digits ({type(error).__name__}): remove it") from error
    if not np.array_equal(np.where(digits > 0, digits, 0).sum(1, dtype=np.int64), sums):
        raise DataError(f"{path}: its digits do not add up to the labels beside it; remove it")
    return digits


def _labels_beside(images: Path) -> Path:
    """`lab….npy` or `labels….npy` for `data….npy`."""
    candidates = [
        images.with_name(images.name.replace("data", word, 1)) for word in ("lab", "labels")
    ]
    for path in candidates:
        if path != images and path.exists():
            return path
    if "data" not in images.name:
        raise DataError(f"no labels for {images}: name them with --labels FILE")
    wanted = " or ".join(path.name for path in candidates)
    raise DataError(
        f"no labels beside {images}: expected {wanted}, or name them with --labels FILE"
    )
