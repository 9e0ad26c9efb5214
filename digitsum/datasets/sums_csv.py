"""The sums of pictures, in a CSV: columns `file` and `sum`, and perhaps `count` and `digits`.

    file,sum,count,digits
    00000.png,17,4,2 5 1 9

`count` is how many digits the strip holds, in every row or in none. `digits` are the truth, as
`2 5 1 9` or `2519`; only evaluation uses them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from digitsum.coercion import whole_number
from digitsum.datasets.folders import named
from digitsum.display import counted
from digitsum.errors import DataError
from digitsum.file_kinds import UnreadableFileError, open_regular

NAME = "sums.csv"  # what the one in a folder of pictures is called
COLUMNS = ("file", "sum", "count", "digits")
MAX_BYTES = 50_000_000  # a million rows
LARGEST = 2**31  # no sum is larger


@dataclass(frozen=True)
class LabelledPicture:
    """A row: a picture and what is known of it."""

    file: str  # relative to the folder, with slashes
    sum: int
    count: int | None  # how many digits it holds, where that is known
    digits: tuple[int, ...] | None  # the truth, where it is known


@dataclass(frozen=True)
class SumsTable:
    """All rows of a file."""

    path: Path
    rows: list[LabelledPicture]
    notes: list[str]  # a line about what was left out of it


def is_csv(path: Path) -> bool:
    """Whether the name ends in .csv, in any case."""
    return path.suffix.lower() == ".csv"


def read_sums(path: Path) -> SumsTable:
    """The rows of a CSV of sums.

    Raises:
        DataError: It cannot be read, a column is missing, a value is not allowed, or a file stands
            there twice.
    """
    lines = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(header, path)
        rows = list(_rows(lines, header, path))
    except csv.Error as error:
        raise DataError(f"{path} line {lines.line_num} is no CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} holds no sums: give a line such as 1.png,17 for each picture")
    first: dict[str, int] = {}
    for line, row in rows:
        if (before := first.setdefault(row.file, line)) != line:
            raise DataError(f"{path} names {row.file} twice, in lines {before} and {line}")
    known = [row.count is not None for _, row in rows]
    if any(known) and not all(known):
        raise DataError(
            f"{path} line {rows[known.index(False)][0]} has no count: give one in every row, or "
            "leave the column out"
        )
    return SumsTable(path, [row for _, row in rows], _notes(path, header, [r for _, r in rows]))


def read_picture_counts(path: Path) -> dict[str, int]:
    """How many digits each picture holds, by its name; empty if the CSV has no such column.

    Nothing else in it matters then: it may be a table of another kind.

    Raises:
        DataError: It cannot be read; or it has the column, and is none of sums.
    """
    header = _text(path).partition("\n")[0].split(",")
    if "count" not in [name.strip().strip('"') for name in header]:
        return {}
    return {row.file: row.count for row in read_sums(path).rows if row.count is not None}


def _text(path: Path) -> str:
    """The text of a file, which may begin with a byte order mark, as Excel writes it."""
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except UnreadableFileError as error:
        raise DataError(f"{path} {error.reason}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes: split the folder")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in UTF-8 (byte {error.start}): save it as CSV in UTF-8"
        ) from error


def _check_header(header: Sequence[str], path: Path) -> None:
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if "file" not in header or "sum" not in header or twice:
        seen = ",".join(header)
        raise DataError(
            f"{path} begins with the line {seen[:60]!r}: its columns must be named file,sum and "
            "perhaps count and digits, with commas between, each once"
        )


def _rows(
    lines: Iterator[list[str]], header: Sequence[str], path: Path
) -> Iterator[tuple[int, LabelledPicture]]:
    """Each row with the number of its line."""
    for fields in lines:
        number = lines.line_num  # type: ignore[attr-defined]
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            seen = counted(len(fields), "value")
            raise DataError(f"{path} line {number} has {seen}, its header {len(header)}")
        cells = {name: field.strip() for name, field in zip(header, fields, strict=True)}
        try:
            yield number, _row(cells)
        except ValueError as error:
            raise DataError(f"{path} line {number}: {error}") from error


def _row(cells: Mapping[str, str]) -> LabelledPicture:
    """A row from its cells by column.

    Raises:
        ValueError: One is not allowed; the message says why.
    """
    total, count = whole_number(cells["sum"]), None
    if total is None or total >= LARGEST:
        raise ValueError(f"sum is {cells['sum'][:40]!r}: it must be a whole number from 0 up")
    if given := cells.get("count"):
        count = whole_number(given)
        if not count:
            raise ValueError(f"count is {given[:40]!r}: it must be a whole number from 1 up")
        if total > 9 * count:
            raise ValueError(
                f"sum is {total}, and {counted(count, 'digit')} can add up to {9 * count} at most"
            )
    digits = _digits(cells.get("digits", ""))
    if digits is not None and sum(digits) != total:
        raise ValueError(
            f"digits {cells['digits'][:40]} add up to {sum(digits)}, and sum is {total}"
        )
    if digits is not None and count is not None and len(digits) != count:
        raise ValueError(f"{counted(len(digits), 'digit')} are named, and count is {count}")
    return LabelledPicture(_file(cells["file"]), total, count, digits)


def _file(name: str) -> str:
    """The name of a picture, one inside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"file is {name[:80]!r}: it must be a name inside the folder of pictures")
    return str(path)


def _digits(text: str) -> tuple[int, ...] | None:
    """`2 5 1 9` or `2519` as numbers; None if nothing is there."""
    if not text:
        return None
    parts = text.split() if " " in text else list(text)
    numbers = [whole_number(part) for part in parts]
    if not all(number is not None and number <= 9 for number in numbers):
        raise ValueError(f"digits are {text[:40]!r}: write them as 2 5 1 9 or 2519")
    return tuple(number for number in numbers if number is not None)


def _notes(path: Path, header: Sequence[str], rows: Sequence[LabelledPicture]) -> list[str]:
    """Lines about columns that are not read, and about digits that are not known of all."""
    notes = []
    if other := [name for name in header if name not in COLUMNS]:
        columns = counted(len(other), "column")
        notes.append(f"{path}: left out {columns} ({named(other)}); read are {', '.join(COLUMNS)}")
    unknown = sum(row.digits is None for row in rows)
    if 0 < unknown < len(rows):
        notes.append(
            f"{path}: {unknown:,} of {len(rows):,} rows have no digits: single digits are not "
            "scored"
        )
    return notes
