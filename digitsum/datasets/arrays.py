"""Strips and sums from `.npy` pairs: find, open, check, fingerprint.

The contract for images, stated once. Shapes (N, 40, W), (N, 40, W, 1), (N, 1, 40, W), flat
(N, 6720), or one strip (40, W); W from 28 up. Integers in 0..255; floats in 0..1 or 0..255, which
of the two is decided once a file. NaN and infinities are refused. Labels (N,) or (N, 1), whole
and non-negative, of any numeric type. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from digitsum.errors import DataError, UsageError
from digitsum.readings import stack

ROWS = 40
FLAT_WIDTH = 168  # columns of a strip in the flat form
MIN_WIDTH = 28  # one digit
CHUNK = 1024  # strips mapped at a time: 7 MB of uint8
FINGERPRINT_LIMIT = 4 << 30  # bytes of strips above which the fingerprint samples
SAMPLED = 1000  # strips in a sampled fingerprint


class Images(Protocol):
    """N strips that give uint8 (n, 40, W) for a slice: an array, or an ImageFile."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class ImageFile:
    """A checked `.npy` file of strips, mapped anew for each slice.

    A mapping that stays open counts as this process's memory, hence one a slice.
    """

    path: Path
    shape: tuple[int, int, int]  # (N, 40, W)
    scale: float  # what stored values are multiplied by to reach 0..255

    @classmethod
    def open(cls, path: Path) -> ImageFile:
        """Opens a file and reads it once through, a chunk at a time, to check its values.

        Raises:
            DataError: The file is not one of strips.
        """
        stored = map_array(path)
        shape = _strip_shape(stored, path)
        return cls(path, shape, _scale(stored, path))

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        count, height, width = self.shape
        stored = map_array(self.path)
        if stored.size != count * height * width:
            raise DataError(f"{self.path} changed while it was being read: start again")
        if stored.ndim == 2 and count == 1:
            stored = stored[None]
        return _in_levels(np.asarray(stored[rows]).reshape(-1, height, width), self.scale)


def as_strips(images: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """An array in memory as uint8 strips (N, 40, W), by the same rules as a file.

    Args:
        images: In any of the shapes and types that files hold.
        name: For messages.

    Raises:
        DataError: These are no strips.
    """
    shape = _strip_shape(images, name)
    return _in_levels(images.reshape(shape), _scale(images, name))


def _in_levels(strips: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """Stored values times `scale`, rounded, as a new array of uint8."""
    if strips.dtype.kind in "fb":
        strips = np.rint(strips.astype(np.float32) * scale)
    return np.array(strips, dtype=np.uint8)


def slices(images: Images, rows: range | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Strips in order, up to `CHUNK` at a time: first row, uint8 (n, 40, W). All, or `rows`."""
    rows = range(images.shape[0]) if rows is None else rows
    for start in range(rows.start, rows.stop, CHUNK):
        yield start, images[start : min(start + CHUNK, rows.stop)]


@dataclass
class StripSet:
    """Strips with their sums, from files or composed, read in chunks or all at once."""

    name: list[str]  # as typed
    parts: Sequence[Images]
    sums: NDArray[np.int64]  # (N,)
    truth: Callable[[], NDArray[np.int8] | None] = lambda: None  # see `read_truth`; not a label
    _fingerprint: str = field(default="", repr=False)

    @classmethod
    def of_arrays(cls, strips: NDArray[np.uint8], sums: NDArray[np.int64]) -> StripSet:
        """Strips (N, 40, W) and sums (N,) in memory, without a truth.

        Raises:
            DataError: Their numbers differ.
        """
        if len(strips) != len(sums):
            raise DataError(f"{len(sums)} sums for {len(strips)} strips: every strip needs one")
        return cls(["arrays"], [strips], sums)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def width(self) -> int:
        """Columns of every strip."""
        return int(self.parts[0].shape[2])

    def chunks(
        self, rows: NDArray[np.int64] | None = None, size: int = CHUNK
    ) -> Iterator[NDArray[np.uint8]]:
        """Strips in order, uint8 (n, 40, W), n up to `size`: all, or those of ascending `rows`."""
        offset = 0
        for part in self.parts:
            for start in range(0, part.shape[0], size):
                if rows is None:
                    yield part[start : start + size]
                    continue
                first = offset + start
                wanted = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + size)]
                wanted = wanted[wanted < offset + part.shape[0]] - first
                if len(wanted):
                    yield part[start : start + size][wanted]
            offset += part.shape[0]

    def images(self) -> NDArray[np.uint8]:
        """All strips at once, uint8 (N, 40, W); an array in memory is given as it is."""
        if len(self.parts) == 1 and isinstance(self.parts[0], np.ndarray):
            return self.parts[0]
        whole = np.empty((len(self), ROWS, self.width), np.uint8)
        start = 0
        for chunk in self.chunks():
            whole[start : start + len(chunk)] = chunk
            start += len(chunk)
        return whole

    @property
    def fingerprint(self) -> str:
        """SHA-256 over strips and sums in order, whatever file, shape or type they came in."""
        if not self._fingerprint:
            self._fingerprint = self._hash()
        return self._fingerprint

    def _hash(self) -> str:
        digest = hashlib.sha256()
        sampled = len(self) * ROWS * self.width > FINGERPRINT_LIMIT
        if sampled:
            for row in np.linspace(0, len(self) - 1, SAMPLED).astype(int).tolist():
                digest.update(self._strip(row).tobytes())
        else:
            for chunk in self.chunks():
                digest.update(np.ascontiguousarray(chunk).data)
        digest.update(self.sums.astype("<i8").tobytes())
        return f"sha256{'-sampled' if sampled else ''}:{digest.hexdigest()}"

    def _strip(self, row: int) -> NDArray[np.uint8]:
        for part in self.parts:
            if row < part.shape[0]:
                return part[row : row + 1]
            row -= part.shape[0]
        raise IndexError(row)


def strip_hashes(strips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A 64-bit hash of each strip's pixels, (N, 40, W) -> (N,)."""
    digests = (hashlib.blake2b(np.ascontiguousarray(s).data, digest_size=8) for s in strips)
    return np.frombuffer(b"".join(d.digest() for d in digests), np.int64)


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
                f"{images} is {file.shape[2]} columns wide and {files[0].path} "
                f"{files[0].shape[2]}: strips of one set need one width"
            )
    truth = functools.cache(lambda: _truth_beside(pairs, sums))  # read when asked for, once
    return StripSet(name, files, np.concatenate(sums), truth)


def join_digits(parts: Sequence[NDArray[np.int8] | None]) -> NDArray[np.int8] | None:
    """Digits (N, K) of all parts, padded with -1 to the longest; None if a part has none."""
    known = [part for part in parts if part is not None]
    return stack(known) if len(known) == len(parts) else None


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


def read_labels(path: Path) -> NDArray[np.int64]:
    """Sums from a `.npy` file, (N,) int64.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1).
    """
    return as_sums(np.array(map_array(path)), path)


def as_sums(stored: NDArray[Any], path: Path | str) -> NDArray[np.int64]:
    """An array in memory as sums (N,), by the same rules as a file; `path` is for messages.

    Raises:
        DataError: They are not whole, non-negative numbers of shape (N,) or (N, 1).
    """
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if stored.ndim != 1 or stored.dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {_describe(stored)}: labels are numbers of shape (N,) or (N, 1)"
        )
    if stored.dtype.kind == "f":
        stored = stored.astype(np.float64)  # half precision cannot be compared with the bound
    with np.errstate(invalid="ignore"):
        wrong = ~((stored >= 0) & (stored < 2**31) & (stored == np.rint(stored)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{path}: label {row} is {stored[row]}: a label is the sum of the digits in its "
            "strip, whole and not negative"
        )
    return stored.astype(np.int64)


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


def map_array(path: Path) -> NDArray[np.generic]:
    """A `.npy` file mapped read-only; its header is checked against its size before use."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a forged shape overflows with no more than a warning
            return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder: expected a .npy file") from error
    except Exception as error:  # numpy parses headers with Python's own parser: all may come out
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} is not a readable .npy array ({detail}): save it again with numpy.save"
        ) from error


def _strip_shape(stored: NDArray[np.generic], path: Path | str) -> tuple[int, int, int]:
    """(N, 40, W) for any of the shapes that strips come in."""
    shape = stored.shape
    if stored.size == 0:
        raise DataError(f"{path} holds no strips: its shape is {shape}")
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    elif len(shape) == 2 and shape[1] == ROWS * FLAT_WIDTH:
        shape = (shape[0], ROWS, FLAT_WIDTH)
    elif len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[1] != ROWS or shape[2] < MIN_WIDTH:
        raise DataError(
            f"{path} holds {_describe(stored)}: strips are {ROWS} rows high and at least "
            f"{MIN_WIDTH} columns wide, in shape (N, {ROWS}, W), (N, {ROWS}, W, 1), "
            f"(N, 1, {ROWS}, W), (N, {ROWS * FLAT_WIDTH}) or ({ROWS}, W)"
        )
    return shape


def _scale(stored: NDArray[np.generic], path: Path | str) -> float:
    """What brings stored values to 0..255: 1, or 255 for floats in 0..1 and booleans."""
    kind = stored.dtype.kind
    if kind == "b":
        return 255.0
    if kind not in "iuf":
        raise DataError(f"{path} holds {stored.dtype}: strips are integers in 0..255 or floats")
    if stored.dtype == np.uint8:
        return 1.0
    low, high = np.inf, -np.inf
    for start in range(0, len(stored), CHUNK):
        chunk = stored[start : start + CHUNK]
        low, high = np.minimum(low, chunk.min()), np.maximum(high, chunk.max())  # these keep NaN
        if not np.isfinite([low, high]).all():
            raise DataError(f"{path} holds NaN or infinite pixels: replace them, 0 is background")
    if low < 0 or high > 255:
        raise DataError(
            f"{path} holds pixels from {low:g} to {high:g}: allowed are 0..255, or floats in 0..1"
        )
    return 255.0 if kind == "f" and high <= 1 else 1.0


def _describe(stored: NDArray[np.generic]) -> str:
    return f"{stored.dtype} of shape {stored.shape}"
