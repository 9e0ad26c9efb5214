"""Predictions for whole files: strips, pictures, folders of them, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitsum.datasets.appearance import Invert, light_on_dark, warn_of_appearance
from digitsum.datasets.counts import as_counts, in_words
from digitsum.datasets.folders import named
from digitsum.datasets.image_files import (
    InMemoryStrips,
    OpenedFile,
    files_of,
    open_image,
    unread_notes,
    unread_places,
)
from digitsum.datasets.pairs import counts_path, read_counts
from digitsum.datasets.photographs import Box, looks_at
from digitsum.datasets.picture_folders import sums_of
from digitsum.datasets.pictures import is_multi_picture
from digitsum.datasets.strips import slices
from digitsum.datasets.sums_csv import read_picture_counts
from digitsum.display import counted
from digitsum.errors import DataError, prefixed
from digitsum.inference import DigitCount, LoadedModel, load_model
from digitsum.predictions import Predictions

NONE = np.zeros((0, 40, 28), np.uint8)  # no strips


@dataclass(frozen=True)
class FilePredictions:
    """Predictions for consecutive strips of one file.

    Attributes:
        file: Its path.
        start: Number of the first strip in the file; a picture has one for each page.
        strips: (n, 40, W) uint8.
        predictions: Which keep these strips too.
        line: Which of several on the page of a photograph, from 1 at the top.
        box: Where it stands there: left, top, right, bottom, in pixels.
        places: x and y there of each column of the strip, (W, 2).
        unread: Where something in the line was not read that may be a digit, each as `box`.
    """

    file: str
    start: int
    strips: NDArray[np.uint8]
    predictions: Predictions
    line: int | None = None
    box: Box | None = None
    places: NDArray[np.float32] | None = None
    unread: tuple[Box, ...] = ()

    def __repr__(self) -> str:
        return f"FilePredictions({self.file}, from strip {self.start}: {self.predictions!r})"


class FilePredictor:
    """Predictions for whole files, a chunk at a time, so that memory does not grow with them.

    All files are opened and checked when the object is made. Iterate over it for the predictions;
    `len` gives the number of strips.

    Args:
        model: From `digitsum.load`.
        paths: `.npy` and `.npz` files, pictures, folders of pictures or of `.npy` files, and
            patterns such as `scans/*.png`.
        digits_per_strip: See `LoadedModel.predict`. By default a `countN.npy` beside a
            `dataN.npy` is read, which says it for each strip, and the column `count` of the
            `sums.csv` in a folder of pictures.
        shard: Which shard of how many to predict, (1, 1) for all; see `shard_rows`.
        skip_broken: Whether files that cannot be predicted are left out, as long as one can.
        counts: How many digits each strip holds, (N,), those of all files in order.
        fit: Whether strips of other heights are brought to 40 rows; see `datasets.fitting`.
        invert: Which strips of arrays are inverted; see `LoadedModel.invert`.

    Attributes:
        broken: Files that were left out, and why.
        notes: A line about each folder of which more was left out, and the like.

    Raises:
        DataError: A file is missing or broken, or the model does not take its strips; with
            `skip_broken` this is true of all.
        UsageError: The digit count is not valid, or counts are given too.
    """

    def __init__(
        self,
        model: LoadedModel,
        paths: str | Path | Sequence[str | Path],
        digits_per_strip: DigitCount = None,
        shard: tuple[int, int] = (1, 1),
        skip_broken: bool = False,
        counts: ArrayLike | None = None,
        fit: bool = False,
        invert: Invert = "auto",
    ) -> None:
        self.model, self.count = model, model.digit_count(digits_per_strip)
        given = [paths] if isinstance(paths, str | Path) else paths
        self.files: list[OpenedFile] = []
        self.broken: dict[str, DataError] = {}
        self.notes: list[str] = []
        self.has_confidence = True  # whether the model says how confident it is
        self.skip_broken, self.fit = skip_broken, fit
        asked = digits_per_strip is not None or counts is not None
        self.reads_counts = not asked and model.module.uses_digit_count
        self.counts: list[NDArray[np.int64] | None] = []  # of each file, where they are known
        self._widths: set[int] = set()  # that the model takes
        self._open([Path(path) for path in given])
        lengths = [file.shape[0] for file in self.files]
        narrowest = min(file.shape[2] for file in self.files)
        known = model.known_counts(counts, digits_per_strip, sum(lengths), narrowest)
        if known is not None:
            self.counts = list(np.split(known, np.cumsum(lengths)[:-1]))
        which = model.invert(invert)
        self.inverts: list[Invert] = [
            "no" if isinstance(file, InMemoryStrips) and file.is_picture else which
            for file in self.files
        ]
        name = str(given[0]) if len(given) == 1 else f"{len(given)} files"
        warn_of_appearance(self.files, name, self.inverts)
        self.rows = shard_rows(lengths, *shard, batch=model.device.batch)

    def __repr__(self) -> str:
        here = f"{counted(len(self), 'strip')} of {counted(len(self.files), 'file')}"
        return f"FilePredictor({here}, by {self.model!r})"

    def _open(self, given: Sequence[Path]) -> None:
        """Opens all files and checks that the model takes their strips."""
        several: list[Path] = []
        for path in given:
            with self._left_out_if_broken(path):
                table, counts = self._counts_in(path)
                files, notes = files_of(path, table)
                self.notes += notes
                for file in files:
                    with self._left_out_if_broken(file):
                        self._add(open_image(file, self.fit), counts.get(file.name))
                        several += [file] if is_multi_picture(file) else []
        if several:
            self.notes.append(
                f"read was only the first picture in {named(several)}: the others in such a file "
                "(MPO) are previews or views of the same"
            )
        unread = {file.path for file in self.files if getattr(file, "is_unread_photograph", False)}
        if unread:
            self.notes.append(
                f"taken for plain drawings of one line: {named(sorted(map(str, unread)))}; to read "
                "photographs of paper: pip install 'digitsum[pictures]'"
            )
        self.notes += unread_notes([at for file in self.files for at in unread_places(file)])
        if self.broken and not self.files:
            first, count = next(iter(self.broken.values())), len(self.broken)
            raise DataError(f"none of {count} files can be read: {first}") if count > 1 else first

    def _counts_in(self, folder: Path) -> tuple[list[Path], dict[str, int]]:
        """The `sums.csv` of a folder of pictures and the counts in it by name, if it has any."""
        known: dict[str, int] = {}
        if not self.reads_counts or (table := sums_of(folder, None)) is None:
            return [], known
        with self._left_out_if_broken(table):
            known = read_picture_counts(table)
        if known:
            said = in_words(np.array(list(known.values())))
            self.notes.append(f"{table} says how many digits each picture holds: {said}")
        return [table] if known or str(table) in self.broken else [], known

    def _add(self, opened: Sequence[OpenedFile], count: int | None = None) -> None:
        """Takes files that the model takes, with the counts beside them.

        Args:
            opened: From `open_image`.
            count: How many digits the picture holds, where that is known. Of one with several
                lines or pages it is not known how many each of them holds.
        """
        counts = [self._counts_beside(file) for file in opened]
        if count is not None and len(opened) == 1:
            (file,) = opened
            counts = [as_counts(np.array([count]), file.path, None, file.shape[2])]
        for width in {file.shape[2] for file in opened} - self._widths:
            with prefixed(str(opened[0].path)):
                tried = self.model.check_width(width, self.count)
            self.has_confidence &= tried.confidence is not None
            self._widths.add(width)
        self.files += opened
        self.counts += counts

    def _counts_beside(self, file: OpenedFile) -> NDArray[np.int64] | None:
        if isinstance(file, InMemoryStrips) or not self.reads_counts:
            return None
        if (counts := read_counts(file)) is not None:
            path = counts_path(file.path)
            self.notes.append(f"{path} says how many digits each strip holds: {in_words(counts)}")
        return counts

    @contextmanager
    def _left_out_if_broken(self, path: Path) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            if not self.skip_broken:
                raise
            self.broken[str(path)] = error

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.rows)

    def __iter__(self) -> Iterator[FilePredictions]:
        files = zip(self.files, self.rows, self.counts, self.inverts, strict=True)
        for file, rows, counts, invert in files:
            line = file if isinstance(file, InMemoryStrips) else InMemoryStrips(file.path, NONE)
            for start, stored in slices(file, rows):
                strips, _ = light_on_dark(stored, invert)
                known = None if counts is None else counts[start : start + len(strips)]
                if line.places is not None and self.model.module.uses_digit_count:
                    found = self._predict_line(strips[0], known)
                else:
                    found = self.model.predict_strips(strips, self.count, known)
                found = replace(found, strips=strips)
                yield FilePredictions(
                    str(file.path),
                    line.first + start,
                    strips,
                    found,
                    line.line,
                    line.box,
                    line.places,
                    line.unread,
                )

    def _predict_line(
        self, strip: NDArray[np.uint8], counts: NDArray[np.int64] | None
    ) -> Predictions:
        """What is read of a line on a photograph, (40, W), looked at in several ways."""
        readings = []
        for look in looks_at(strip):
            found = self.model.predict_strips(look.strip[None], self.count, counts)
            assert found.positions is not None
            readings.append(replace(found, positions=look.columns(found.positions)))
        return Predictions.agreed(readings)


def predict_files(
    model: LoadedModel | str | Path,
    paths: str | Path | Sequence[str | Path],
    digits_per_strip: DigitCount = None,
    shard: tuple[int, int] = (1, 1),
    skip_broken: bool = False,
    counts: ArrayLike | None = None,
    fit: bool = False,
    invert: Invert = "auto",
) -> FilePredictor:
    """Predictions for whole files, a chunk at a time; see `FilePredictor`.

    Args:
        model: From `digitsum.load`, or what that takes.
        paths: See `FilePredictor`.
        digits_per_strip: See `FilePredictor`.
        shard: Which shard of how many to predict, (1, 1) for all.
        skip_broken: Whether files that cannot be predicted are left out, as long as one can;
            `broken` of what is returned says which and why. By default the first one raises.
        counts: How many digits each strip holds, (N,), those of all files in order.
        fit: Whether strips of other heights are brought to 40 rows.
        invert: Which strips of arrays are inverted; see `LoadedModel.invert`.

    Raises:
        DataError: A file is missing or broken, or the model does not take its strips.
        UsageError: The digit count is not valid.
        CheckpointError: The model cannot be loaded.
    """
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    return FilePredictor(loaded, paths, digits_per_strip, shard, skip_broken, counts, fit, invert)


def shard_rows(counts: Sequence[int], shard: int, shards: int, batch: int) -> list[range]:
    """The rows of each file that are one of several shards, consecutive and about equal.

    Files are cut between batches only, so that a strip is predicted among the same others, and to
    the same last digit, in a shard as in the whole.

    Args:
        counts: Strips in each file.
        shard: Which, from 1.
        shards: How many.
        batch: Strips in a forward pass.
    """
    batches = [-(-count // batch) for count in counts]
    first, last = (sum(batches) * s // shards for s in (shard - 1, shard))
    rows = []
    for count, n in zip(counts, batches, strict=True):
        start, stop = (min(max(edge, 0), n) * batch for edge in (first, last))
        rows.append(range(min(start, count), min(stop, count)))
        first, last = first - n, last - n
    return rows
