"""How results look: words for a prediction, tables, and HTML for notebooks.

This module knows nothing of models or strips. A result describes itself as a `Table`, and the
table prints as plain text, shows as HTML in a notebook, or is drawn by the command line.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GAP = "  "  # between the columns of a plain table
_UNDECODABLE = re.compile("[\udc80-\udcff]+")  # here: errors are told when memory is out, too
CERTAIN = 0.995  # count probability from which nothing is said of it
FOLDED = 12  # characters to which a column of text is folded where a table is too wide


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: Its name.
        cells: One text for each row.
        numeric: Whether it is set to the right.
        priority: 0 if the column is always shown. Where a table is too wide, the columns with the
            highest number are left out first.
        best: Rows whose cell is the best one.
    """

    header: str
    cells: Sequence[str]
    numeric: bool = True
    priority: int = 0
    best: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        """Characters that the widest cell takes."""
        return max(len(text) for text in (self.header, *self.cells))

    @property
    def least_width(self) -> int:
        """Characters that the column needs: numbers are never folded, names are."""
        return self.width if self.numeric else min(self.width, FOLDED)


@dataclass(frozen=True)
class Table:
    """Columns under a title, with a note below and the headers of columns that were left out."""

    title: str
    columns: Sequence[Column]
    note: str = ""
    left_out: Sequence[str] = ()

    def fitted(self, width: int, padding: int) -> Table:
        """The table without as many columns as it takes to fit; those of priority 0 stay.

        Args:
            width: Characters that there are.
            padding: Characters that a column takes besides its cells.
        """
        columns, left_out = list(self.columns), list(self.left_out)
        while sum(column.least_width + padding for column in columns) > width:
            last = max(columns, key=lambda column: column.priority)
            if last.priority == 0:
                break
            columns.remove(last)
            left_out.append(last.header)
        return replace(self, columns=columns, left_out=left_out)

    def on_lines(self) -> Table:
        """The table with its texts as a terminal may show them: see `on_one_line`."""
        columns = [
            replace(
                column,
                header=on_one_line(column.header),
                cells=[on_one_line(cell) for cell in column.cells],
            )
            for column in self.columns
        ]
        title, note = on_one_line(self.title), on_one_line(self.note)
        return replace(self, title=title, columns=columns, note=note)

    def __str__(self) -> str:
        shown = self.on_lines()
        rows: Iterable[tuple[str, ...]] = zip(
            *(column.cells for column in shown.columns), strict=True
        )
        lines = [shown.title] if shown.title else []
        for row in [tuple(column.header for column in shown.columns), *rows]:
            cells = [
                text.rjust(column.width) if column.numeric else text.ljust(column.width)
                for text, column in zip(row, shown.columns, strict=True)
            ]
            lines.append(GAP.join(cells).rstrip())
        return "\n".join([*lines, *([shown.note] if shown.note else [])])

    def _repr_html_(self) -> str:
        """The table for a notebook, its best cells bold."""
        head = "".join(f"<th>{escape(column.header)}</th>" for column in self.columns)
        rows = []
        for i in range(len(self.columns[0].cells)):
            cells = [
                f"<td><b>{escape(c.cells[i])}</b></td>" if i in c.best
                else f"<td>{escape(c.cells[i])}</td>" for c in self.columns
            ]  # fmt: skip
            rows.append(f"<tr>{''.join(cells)}</tr>")
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table>{caption}<tr>{head}</tr>{''.join(rows)}</table>{note}"


class Tabular:
    """A result that prints as its table, and shows as HTML in a notebook."""

    def table(self) -> Table:
        """The result as a table."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def best_rows(
    values: Sequence[float | None], better: Literal["low", "high"], groups: Sequence[object]
) -> frozenset[int]:
    """Rows with the best value among the rows of the same group; a row alone is not the best.

    Args:
        values: One for each row; None where there is none.
        better: Which end of the scale is the good one.
        groups: Rows with equal entries can be compared with one another.
    """
    best: set[int] = set()
    for group in set(groups):
        rows = [i for i, value in enumerate(values) if groups[i] == group and value is not None]
        if len(rows) > 1:
            pick = min if better == "low" else max
            top = pick(value for i in rows if (value := values[i]) is not None)
            best |= {i for i in rows if values[i] == top}
    return frozenset(best)


def describe(
    value: float,
    sum: int,
    confidence: float | None,
    digits: Sequence[int] | None,
    count_probability: float | None = None,
) -> str:
    """A prediction in words: `3 + 5 = 8, confidence 99.1%`, or `8 (value 7.93)`.

    Where it is not certain that a strip holds so many digits, this is said too: a high confidence
    means nothing there.
    """
    what = str(sum) if digits is None else f"{addition(digits)} = {sum}"
    if confidence is None:
        return f"{what} (value {value:.2f})"
    said = f"{what}, confidence {percent(confidence)}"
    if count_probability is None or count_probability >= CERTAIN:
        return said
    but = "but " if count_probability < 0.5 else ""
    return f"{said}, {but}count probability {percent(count_probability)}"


def percent(probability: float) -> str:
    """`99.1%`; `above 99.9%` and `below 0.1%` for what would round to certainty or to nothing."""
    if probability >= 0.9995:
        return "above 99.9%"
    return "below 0.1%" if probability < 0.0005 else f"{100 * probability:.1f}%"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 strip`, `2,000 strips`; `plural` where it takes more than an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def as_text(name: str) -> str:
    r"""A file name as text that can be encoded: its bytes that are no UTF-8 become `\xe9`.

    Python keeps such bytes as lone surrogates, in an ASCII locale all that are above 127.
    """
    return _UNDECODABLE.sub(
        lambda run: run[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        name,
    )


def on_one_line(text: str) -> str:
    """Text as a terminal may show it: `as_text`, and escapes for control characters."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in as_text(text)
    )


def addition(digits: Iterable[int]) -> str:
    """`3 + 5`; negative numbers are padding; `no digit` if none is left."""
    return " + ".join(str(digit) for digit in digits if digit >= 0) or "no digit"


def strip_rows(rows: Iterable[tuple[NDArray[np.uint8] | None, str]], more: int) -> str:
    """HTML with a strip and a line of text in each row.

    Args:
        rows: A strip (40, W), or None, and the text beside it.
        more: How many rows are not shown; 0 says nothing.
    """
    shown = []
    for i, (strip, text) in enumerate(rows):
        cells = [str(i), escape(text)]
        if strip is not None:
            height = strip.shape[0]
            cells.insert(1, f'<img src="{png(strip)}" alt="strip {i}" height="{height}">')
        shown.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    return f"<table>{''.join(shown)}</table>{rest}"


def png(picture: NDArray[Any]) -> str:
    """A picture, (H, W) grey or (H, W, 3) colour, uint8, as a data URI of a PNG."""
    from PIL import Image

    Image.fromarray(picture).save(stream := io.BytesIO(), "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
