"""Strips and sums: files, names, composition and split. Nothing here needs torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from digitsum.datasets.counts import joined_counts
from digitsum.datasets.digits import load_digits
from digitsum.datasets.folders import named
from digitsum.datasets.pairs import JoinedTruth, find_pairs, notes_on, open_pairs
from digitsum.datasets.picture_folders import open_pictures, sums_of
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import DataError, UsageError

# name: strips and synthesis seed, composed in memory; the name is also the source of digits
NAMES = {"builtin": (30_000, 0), "mnist": (30_000, 0), "mnist-test": (10_000, 1)}

Sources = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class DataOptions:
    """What a person says of the strips: `--data`, `--labels`, `--mnist-root` and `--fit`."""

    sources: Sequence[str | Path] = ()
    labels: Path | None = None
    mnist_root: Path | None = None
    fit: bool = False

    def open(self, fallback: Sequence[str] = ()) -> StripSet:
        """The strips that were named, or those of `fallback` if none were; see `open_data`."""
        return open_data(self.sources or fallback, self.labels, self.mnist_root, self.fit)


def open_data(
    sources: Sources,
    labels: Path | str | None = None,
    mnist_root: Path | str | None = None,
    fit: bool = False,
) -> StripSet:
    """Strips by name, folder or file; several sources are joined in order.

    Args:
        sources: Each `builtin`, `mnist`, `mnist-test`, a folder of `dataN.npy` or of pictures with
            `sums.csv`, or a `.npy` file. A name beats a folder of that name; `./mnist` is the
            folder.
        labels: Labels of the one file among the sources, or the CSV of the one folder of pictures.
        mnist_root: Where MNIST lies; see `digits.load_digits`.
        fit: Whether `.npy` strips of other heights are brought to 40 rows; see `fitting`.

    Raises:
        UsageError: There are no sources, or `labels` is given and they are not one file.
        DataError: A source is missing, broken, or does not fit the others.
    """
    given = [sources] if isinstance(sources, str | Path) else sources
    names = [str(source) for source in given]
    if not names:
        raise UsageError(f"no strips: name {', '.join(NAMES)}, a folder or a .npy file")
    if labels is not None and (len(names) != 1 or names[0] in NAMES):
        raise UsageError(
            "--labels goes with one file of strips, or one folder of pictures, not with "
            f"{', '.join(names)}"
        )
    known = [_known_as(name) for name in names]
    if twice := [name for number, name in enumerate(names) if known[number] in known[:number]]:
        raise UsageError(
            f"{twice[0]} is named twice: its strips would stand on both sides of a split; name "
            "it once"
        )
    beside = None if labels is None else Path(labels)
    sets = [_open(source, beside, mnist_root, fit) for source in names]
    return _joined(sets, names)


def _joined(sets: Sequence[StripSet], names: Sequence[str]) -> StripSet:
    """Several sets as one, in order."""
    widths = {strips.width for strips in sets}
    if len(widths) > 1:
        seen = f"seen {sorted(widths)} in {named(names)}"
        raise DataError(f"strips of one set need one width, {seen}")
    return StripSet(
        name=list(names),
        files=[file for strips in sets for file in strips.files],
        sums=np.concatenate([strips.sums for strips in sets]),
        truth=JoinedTruth([strips.truth for strips in sets]),
        notes=[note for strips in sets for note in strips.notes],
        counts=joined_counts([strips.counts for strips in sets], names),
    )


def _known_as(source: str) -> str:
    """A source by which it is known again: its name, or its real path."""
    try:
        return source if source in NAMES else os.path.realpath(source)
    except ValueError:  # a name that no file can have, of which opening says why
        return source


def as_strip_set(data: StripSet | Sources, fit: bool = False) -> StripSet:
    """A set as it is, or the strips that the sources name; see `open_data`."""
    return data if isinstance(data, StripSet) else open_data(data, fit=fit)


def _open(source: str, labels: Path | None, mnist_root: Path | str | None, fit: bool) -> StripSet:
    if source in NAMES:
        strips, seed = NAMES[source]
        return compose(load_digits(source, mnist_root), strips, seed=seed).as_strips(source)
    if table := sums_of(Path(source), labels):
        return open_pictures(Path(source), table, source)
    pairs = find_pairs(Path(source), labels)
    return replace(open_pairs(pairs, [source], fit), notes=notes_on(Path(source), pairs))
