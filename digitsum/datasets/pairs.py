"""Pairs of files: strips in `dataN.npy`, their sums in `labN.npy`, the truth in `truthN.npz`."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ImageFile, read_labels
from digitsum.datasets.strips import StripSet
from digitsum.errors import DataError, UsageError
from digitsum.predictions import pad_and_join


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
    except OSError as error:  # a name of thousands of letters, say
        raise DataError(f"--data {source}: {error.strerror}") from error
    if is_folder:
        if labels is not None:
            raise UsageError(f"--labels goes with one file of strips, not with the folder {source}")
        numbered = [(m, path) for path in source.iterdir()
                    if (m := re.fullmatch(r"data(\d*)\.npy", path.name))]  # fmt: skip
        if not numbered:
            raise DataError(f"{source} holds no dataN.npy: expected data0.npy, lab0.npy and so on")
        numbered.sort(key=lambda found: (int(found[0][1] or 0), found[1].name))
        return [(path, _labels_beside(path)) for _, path in numbered]
    if not exists:
        raise DataError(
            f"{source} does not exist: --data takes a folder with dataN.npy and labN.npy, one "
            "data….npy, or a name: builtin, mnist, mnist-test"
        )
    return [(source, labels or _labels_beside(source))]


def open_pairs(pairs: Sequence[tuple[Path, Path]], name: list[str]) -> StripSet:
    """Opens and checks pairs of images and labels as one set.

    Raises:
        DataError: A file is broken, lengths differ, or widths differ.
    """
    files: list[ImageFile] = []
    sums: list[NDArray[np.int64]] = []
    for images, labels in pairs:
        file = ImageFile.open(images)
        files.append(file)
        sums.append(read_labels(labels))
        if len(sums[-1]) != file.shape[0]:
            raise DataError(
                f"{labels} holds {len(sums[-1])} labels for the {file.shape[0]} strips of "
                f"{images}: every strip needs one"
            )
        if file.shape[2] != files[0].shape[2]:
            raise DataError(
                f"{images} is {file.shape[2]} pixels wide and {files[0].path} "
                f"{files[0].shape[2]}: strips of one set need one width"
            )
    truth = functools.cache(lambda: _truth_beside(pairs, sums))  # read when asked for, once
    return StripSet(name, files, np.concatenate(sums), truth)


def join_digits(truths: Sequence[NDArray[np.int8] | None]) -> NDArray[np.int8] | None:
    """Digits (N, K) of all sets, padded with -1 to the longest; None if a set has none."""
    known = [truth for truth in truths if truth is not None]
    return pad_and_join(known) if len(known) == len(truths) else None


def _truth_beside(
    pairs: Sequence[tuple[Path, Path]], sums: Sequence[NDArray[np.int64]]
) -> NDArray[np.int8] | None:
    """The digits in the strips of all pairs, (N, K); None if a `truthN.npz` is missing."""
    paths = [
        images.with_name(images.name.replace("data", "truth", 1)).with_suffix(".npz")
        for images, _ in pairs
    ]
    if not all(path.exists() for path in paths):
        return None
    return join_digits([read_truth(*known) for known in zip(paths, sums, strict=True)])


def read_truth(path: Path, sums: NDArray[np.int64]) -> NDArray[np.int8]:
    """`digits` of a `truthN.npz`: int8 (N, K), padded with -1. For evaluation alone.

    Raises:
        DataError: They are missing, of another shape or type, or do not add up to the sums.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            digits = file["digits"]
    except Exception as error:  # zip and NumPy raise many kinds
        raise DataError(f"{path} holds no digits ({type(error).__name__}): remove it") from error
    if digits.dtype != np.int8 or digits.ndim != 2 or len(digits) != len(sums):
        raise DataError(
            f"{path} holds digits {digits.dtype} of shape {digits.shape}: expected int8 "
            f"({len(sums)}, K), padded with -1; remove it"
        )
    if not np.array_equal(np.where(digits > 0, digits, 0).sum(1, dtype=np.int64), sums):
        raise DataError(f"{path}: its digits do not add up to the labels beside it; remove it")
    return np.asarray(digits)


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
