"""A folder of pictures, one strip each, with their sums in a CSV; see `sums_csv` for its columns.

Names in the CSV are relative to the folder of pictures, wherever the CSV lies. Pictures become
strips as in `image_files`. Those of a set have one width, the widest's: narrower ones end in black.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.appearance import warn_of_appearance
from digitsum.datasets.counts import as_counts
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.folders import left_out, named
from digitsum.datasets.image_files import OpenedFile, open_image, unread_notes, unread_places
from digitsum.datasets.pairs import NUMBERED
from digitsum.datasets.strips import MIN_WIDTH, ROWS, KnownDigits, StripSet
from digitsum.datasets.sums_csv import COLUMNS, NAME, SumsTable, is_csv, read_sums
from digitsum.datasets.synthesis import Composition, made_folder
from digitsum.display import counted
from digitsum.errors import DataError
from digitsum.files import whole_files

MAX_HELD = 1 << 30  # bytes of the strips of a folder, all of the widest's width
NUMBER = 5  # digits in the name of a picture that is written, at the least


def sums_of(folder: Path, labels: Path | None) -> Path | None:
    """The CSV with the sums of the pictures in a folder; None if the source is none of pictures.

    Args:
        folder: What `--data` names.
        labels: What `--labels` names. Without it, `sums.csv` in a folder that holds no pairs of
            `.npy` files.
    """
    try:
        if not folder.is_dir():
            return None
        if labels is not None:
            return labels if is_csv(labels) else None
        if any(NUMBERED.fullmatch(path.name) for path in folder.iterdir()):
            return None
        return folder / NAME if (folder / NAME).exists() else None
    except (OSError, ValueError):  # a name that no file can have, of which opening says why
        return None


def open_pictures(folder: Path, labels: Path, name: str) -> StripSet:
    """The labelled pictures of a folder, in the order of the CSV.

    Args:
        folder: Where they lie.
        labels: The CSV.
        name: What the set is called.

    Raises:
        DataError: The CSV or a picture cannot be read, or they do not fit each other.
    """
    table = read_sums(labels)
    _check_there(folder, table)
    images, unread = _read(folder, table)
    sums = np.array([row.sum for row in table.rows], np.int64)
    counts = np.array([row.count or 0 for row in table.rows], np.int64)
    known = table.rows[0].count is not None
    warn_of_appearance([images], name)
    return StripSet(
        [name],
        [images],
        sums,
        KnownDigits(_truth(table, images.shape[2])),
        notes=[*table.notes, *_unlabelled(folder, table), *unread_notes(unread)],
        counts=as_counts(counts, labels, sums, images.shape[2]) if known else None,
    )


def _check_there(folder: Path, table: SumsTable) -> None:
    """Refuses a CSV that names what is not there, before anything is read."""
    missing = [row.file for row in table.rows if not (folder / row.file).exists()]
    if missing:
        files = counted(len(missing), "file")
        raise DataError(
            f"{table.path} names {files} not in {folder} ({named(missing)}): names are relative to "
            "the folder of pictures; add them, or remove their lines"
        )


def _read(folder: Path, table: SumsTable) -> tuple[NDArray[np.uint8], list[str]]:
    """All strips at once, (N, 40, W), and where what may be a digit was not read.

    Strips that are narrower than the widest end in black.
    """
    strips: list[NDArray[np.uint8]] = []
    unread: list[str] = []
    widest = MIN_WIDTH
    for row in table.rows:
        opened = _opened(folder / row.file)
        unread += unread_places(opened)
        strips.append(np.asarray(opened[0:1][0]))
        widest = max(widest, strips[-1].shape[1])
        if (held := len(table.rows) * ROWS * widest) > MAX_HELD:
            raise DataError(
                f"{folder}: {len(table.rows):,} strips as wide as {row.file}, {widest:,} pixels, "
                f"take {held:,} bytes, more than {MAX_HELD:,}: split the folder, or cut its widest "
                "pictures"
            )
    joined = np.zeros((len(strips), ROWS, widest), np.uint8)
    for place in joined[::-1]:  # each strip leaves memory as it gets its place
        strip = strips.pop()
        place[:, : strip.shape[1]] = strip
    return joined, unread


def _opened(path: Path) -> OpenedFile:
    """A picture with its only strip."""
    found = open_image(path)
    if (count := sum(file.shape[0] for file in found)) != 1:
        raise DataError(
            f"{path} gives {count:,} strips, one for each of its pages or lines, and has one sum: "
            "split it, or leave it out"
        )
    return found[0]


def _truth(table: SumsTable, width: int) -> NDArray[np.int8] | None:
    """The digits of all rows, (N, K) padded with -1; None if they are not known of all.

    Raises:
        DataError: They are more than strips of that width in pixels hold.
    """
    known = [row.digits for row in table.rows if row.digits is not None]
    if len(known) < len(table.rows):
        return None
    counts = as_counts(np.array([len(digits) for digits in known]), table.path, None, width)
    truth = np.full((len(known), counts.max()), -1, np.int8)
    for place, digits in zip(truth, known, strict=True):
        place[: len(digits)] = digits
    return truth


def _unlabelled(folder: Path, table: SumsTable) -> list[str]:
    """A line about what else is in the folder, such as pictures without a sum."""
    taken = {folder / row.file for row in table.rows} | {table.path, folder / table.path.name}
    inner = {folder / Path(row.file).parts[0] for row in table.rows}
    return left_out(folder, taken | inner, f"the pictures that {table.path} names")


def names_of_pictures(strips: int) -> list[str]:
    """`00000.png` and so on, and last `sums.csv`."""
    digits = max(NUMBER, len(str(strips - 1)))
    return [*(f"{number:0{digits}}.png" for number in range(strips)), NAME]


def write_pictures(
    made: Composition,
    folder: Path,
    overwrite: bool = True,
    on_progress: Callable[[int], None] = lambda pictures: None,
) -> None:
    """Writes a PNG for each strip, and `sums.csv`; read again, they are the same pixel for pixel.

    All of them come, or none; see `files.whole_files`.

    Args:
        made: The strips.
        folder: It is made if missing.
        overwrite: Whether files that are there are replaced.
        on_progress: Told of each picture.

    Raises:
        DataError: A strip would not be known as one again, as it is too dim.
        UsageError, OutputError, OutputExistsError: See `synthesis.write`.
    """
    from PIL import Image

    names = names_of_pictures(len(made.sums))
    with made_folder(folder), whole_files(folder, names, overwrite, many=True) as opened:
        for name, strip in zip(names[:-1], made.images, strict=True):
            if not np.array_equal(strip_of(strip, name), strip):
                raise DataError(
                    f"{folder / name} would not be read as the strip that it is, its digits are "
                    "too dim: take brighter digits, or write .npy"
                )
            with opened(name) as stream:
                Image.fromarray(strip).save(stream, "PNG")
            on_progress(1)
        with opened(NAME) as stream:
            stream.write(_table(made, names[:-1]).encode())


def _table(made: Composition, names: Sequence[str]) -> str:
    """The CSV of composed strips."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, total, padded in zip(names, made.sums, made.truth.digits, strict=True):
        digits = padded[padded >= 0]
        table.writerow((name, total, len(digits), " ".join(map(str, digits))))
    return text.getvalue()
