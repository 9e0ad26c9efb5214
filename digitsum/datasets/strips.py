"""Strips with their sums: what models are trained and scored on.

Letters: N strips, W width in pixels. A strip is uint8 (40, W), light digits on black.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitsum.datasets.counts import as_counts
from digitsum.display import counted
from digitsum.errors import DataError

ROWS = 40  # height of a strip in pixels
FLAT_WIDTH = 168  # width of a strip in the flat form, in pixels
MIN_WIDTH = 28  # of a strip: one digit
MAX_WIDTH = 10_000  # of a strip: 238 digits; what a model takes grows with the square of it
WIDE = 2 * FLAT_WIDTH  # width above which fewer strips are held at a time
CHUNK = 1024  # strips read at a time: 7 MB of uint8
FINGERPRINT_LIMIT = 4 << 30  # bytes of strips above which the fingerprint samples
SAMPLED = 1000  # strips in a sampled fingerprint


class Images(Protocol):
    """N strips that give uint8 (n, 40, W) for a slice: an array, or an ImageFile."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]: ...


def at_once(strips: int, width: int) -> int:
    """How many strips of a width to hold at a time where of others it would be so many.

    The halves of that number, so that larger numbers are still multiples of smaller ones.
    """
    return max(1, strips >> ((width - 1) // WIDE).bit_length())


def slices(images: Images, rows: range | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Strips in order, up to `CHUNK` at a time: first row, uint8 (n, 40, W). All, or `rows`."""
    rows = range(images.shape[0]) if rows is None else rows
    size = at_once(CHUNK, images.shape[2])
    for start in range(rows.start, rows.stop, size):
        yield start, images[start : min(start + size, rows.stop)]


TruthOf = Callable[[], NDArray[np.int8] | None]


@dataclass(frozen=True, eq=False)
class KnownDigits:
    """The truth of strips in memory: (N, K) padded with -1, or None."""

    digits: NDArray[np.int8] | None = None

    def __call__(self) -> NDArray[np.int8] | None:
        return self.digits


@dataclass(repr=False)
class StripSet:
    """Strips with their sums, from files or composed, read in chunks or all at once.

    Attributes:
        name: What the strips are called, as it was typed.
        files: Where their pixels are, in order: arrays in memory, or files.
        sums: The label of each strip, (N,).
        truth: Gives the digits of each strip, int8 (N, K) padded with -1, or None if they are not
            known. It is no label; only evaluation calls it. A set that goes to other processes
            needs one that can be pickled.
        notes: A line about each folder of which more was left out.
        counts: How many digits each strip is known to hold, (N,), where that is known of all. A
            fact about the strips that training and prediction may use, not a label.
    """

    name: list[str]
    files: Sequence[Images]
    sums: NDArray[np.int64]
    truth: TruthOf = KnownDigits()
    notes: Sequence[str] = ()
    counts: NDArray[np.int64] | None = None
    _fingerprint: str = field(init=False, default="")

    @classmethod
    def from_arrays(
        cls,
        strips: NDArray[np.uint8],
        sums: NDArray[np.int64],
        name: str = "arrays",
        counts: ArrayLike | None = None,
    ) -> StripSet:
        """Strips (N, 40, W), sums (N,) and perhaps counts (N,) in memory, without a truth.

        Raises:
            DataError: Their numbers differ, or a count is not possible.
        """
        if len(strips) != len(sums):
            seen = f"{counted(len(sums), 'sum')} for {counted(len(strips), 'strip')}"
            raise DataError(f"{seen}: every strip needs one")
        return cls([name], [strips], sums).with_counts(counts)

    def with_counts(self, counts: ArrayLike | None) -> StripSet:
        """The same strips with their known numbers of digits, (N,); None leaves them as they are.

        Raises:
            DataError: They are not one for each strip, whole, and possible.
        """
        if counts is None:
            return self
        known = as_counts(np.asarray(counts), "counts", self.sums, self.width)
        return replace(self, counts=known)

    def __len__(self) -> int:
        return len(self.sums)

    def __repr__(self) -> str:
        strips = counted(len(self), "strip")
        return f"StripSet({' '.join(self.name)}: {strips}, {self.width} pixels wide)"

    @property
    def width(self) -> int:
        """Width of every strip in pixels."""
        return int(self.files[0].shape[2])

    def chunks(
        self, rows: NDArray[np.int64] | None = None, size: int | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Strips in order, uint8 (n, 40, W): all, or those of ascending `rows`.

        Args:
            rows: Their numbers.
            size: The largest n; by default `CHUNK`, or fewer if they are wide.
        """
        size, offset = size or at_once(CHUNK, self.width), 0
        for file in self.files:
            for start in range(0, file.shape[0], size):
                if rows is None:
                    yield file[start : start + size]
                    continue
                first = offset + start
                wanted = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + size)]
                wanted = wanted[wanted < offset + file.shape[0]] - first
                if len(wanted):
                    yield file[start : start + size][wanted]
            offset += file.shape[0]

    def images(self) -> NDArray[np.uint8]:
        """All strips at once, uint8 (N, 40, W); an array in memory is given as it is."""
        if len(self.files) == 1 and isinstance(self.files[0], np.ndarray):
            return self.files[0]
        whole = np.empty((len(self), ROWS, self.width), np.uint8)
        start = 0
        for chunk in self.chunks():
            whole[start : start + len(chunk)] = chunk
            start += len(chunk)
        return whole

    @property
    def fingerprint(self) -> str:
        """SHA-256 over strips, sums and any counts in order, whatever file or type they came in."""
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
        if self.counts is not None:  # sets without them keep the fingerprints that they had
            digest.update(b"counts" + self.counts.astype("<i8").tobytes())
        return f"sha256{'-sampled' if sampled else ''}:{digest.hexdigest()}"

    def _strip(self, row: int) -> NDArray[np.uint8]:
        for file in self.files:
            if row < file.shape[0]:
                return file[row : row + 1]
            row -= file.shape[0]
        raise IndexError(row)


def strip_hashes(strips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A 64-bit hash of each strip's pixels, (N, 40, W) -> (N,)."""
    digests = (hashlib.blake2b(np.ascontiguousarray(s).data, digest_size=8) for s in strips)
    return np.frombuffer(b"".join(d.digest() for d in digests), np.int64)
