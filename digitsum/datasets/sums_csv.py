"""The sums of pictures, in a CSV: columns `file` and `sum`, and perhaps `count` and `digits`.

    file,sum,count,digits
    00000.png,17,4,2 5 1 9

`count` is how many digits the strip holds, in every row or in none. `digits` are the truth, as
`2 5 1 9` or `2519`; only evaluation uses them.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from digitsum.coercion import whole_number
from digitsum.datasets.folders import named
from digitsum.display import counted
from digitsum.errors import DataError
from digitsum.file_kinds import UnreadableFileError, open_regular

NAME = "sums.csv"  # what the one in a folder of pictures is called
COLUMNS = ("file", "sum", "count", "digits")
MAX_BYTES = 50_000_000
MAX_ROWS = 300_000  # more pictures than fit into memory as strips
MAX_RECORD = 100_000  # characters of a row
LARGEST = 2**31  # no sum is larger


@dataclass(frozen=True, slots=True)
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
    rows: list[LabelledPicture] = []
    lines: dict[str, int] = {}  # of each picture
    with _records(path) as records:
        _, header = next(records, (0, []))
        header = [name.strip() for name in header]
        _check_header(header, path)
        for line, row in _rows(records, header, path):
            if (before := lines.setdefault(row.file, line)) != line:
                raise DataError(f"{path} names {row.file} twice, in lines {before} and {line}")
            rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no sums: give a line such as 1.png,17 for each picture")
    lacking = next((row for row in rows if row.count is None), None)
    if lacking and any(row.count is not None for row in rows):
        raise DataError(
            f"{path} line {lines[lacking.file]} has no count: give one in every row, or leave the "
            "column out"
        )
    return SumsTable(path, rows, _notes(path, header, rows))


def read_picture_counts(path: Path) -> dict[str, int]:
    """How many digits each picture holds, by its name; empty if the CSV has no such column.

    Nothing else in it matters then: it may be a table of another kind.

    Raises:
        DataError: It cannot be read; or it has the column, and is none of sums.
    """
    with _records(path) as records:
        _, header = next(records, (0, []))
    if "count" not in [name.strip() for name in header]:
        return {}
    return {row.file: row.count for row in read_sums(path).rows if row.count is not None}


@contextmanager
def _records(path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """The rows of a file, which may begin with a byte order mark, as Excel writes it.

    Each comes with the number of its line. They are read one at a time, and none is longer than
    `MAX_RECORD`: as lists of texts, they take many times what they take in the file.
    """
    try:
        with open_regular(path) as stream:
            if os.fstat(stream.fileno()).st_size > MAX_BYTES:
                raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes: split the folder")
            with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
                yield _parsed(text, path)
    except UnreadableFileError as error:
        raise DataError(f"{path} {error.reason}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in UTF-8 ({error.reason}): save it as CSV in UTF-8"
        ) from error


def _parsed(text: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    held = 0  # characters of the row that is read

    def lines() -> Iterator[str]:
        nonlocal held
        while line := text.readline(MAX_RECORD):
            held += len(line)
            if held >= MAX_RECORD:
                raise DataError(
                    f"{path} has a row of {MAX_RECORD:,} characters or more after line "
                    f"{reader.line_num}: it must be a table of pictures and their sums"
                )
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        for number, fields in enumerate(reader):
            if number > MAX_ROWS:
                raise DataError(f"{path} holds more than {MAX_ROWS:,} rows: split the folder")
            held = 0
            yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num} is no CSV: {error}") from error


def _check_header(header: Sequence[str], path: Path) -> None:
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if "file" not in header or "sum" not in header or twice:
        seen = ",".join(header)
        raise DataError(
            f"{path} begins with the line {seen[:60]!r}: its columns must be named file,sum and "
            "perhaps count and digits, with commas between, each once"
        )


def _rows(
    records: Iterator[tuple[int, list[str]]], header: Sequence[str], path: Path
) -> Iterator[tuple[int, LabelledPicture]]:
    """Each row with the number of its line."""
    for number, fields in records:
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
