"""How `digitsum predict` writes: CSV, JSON lines, one JSON document, or sums as .npy."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from digitsum.display import as_text, on_one_line
from digitsum.errors import UsageError
from digitsum.files import whole_file

if TYPE_CHECKING:
    from digitsum.file_predictor import FilePredictions
    from digitsum.predictions import Prediction

COLUMNS = (
    "file", "index", "line", "sum", "value", "confidence", "count_probability", "digits",
    "positions",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what one begins with
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".npy": "npy", ".json": "json"}

Write = Callable[["FilePredictions"], None]


def kind(out: Path | None, format: str | None, as_json: bool) -> str:
    """What to write: `csv`, `jsonl`, `json` or `npy`.

    Raises:
        UsageError: The options contradict each other, or the name of `out` says nothing.
    """
    asked = {"json"} if as_json else set()
    asked |= {format} if format else set()
    if out is not None and (suffix := out.suffix.lower()) in SUFFIXES:
        asked.add(SUFFIXES[suffix])
    if len(asked) > 1:
        raise UsageError(f"cannot write {' and '.join(sorted(asked))} at once: give one of them")
    if out is not None and not asked:
        raise UsageError(f"--out {out}: name it .csv, .jsonl, .json or .npy, or give --format")
    return asked.pop() if asked else "csv"


@contextmanager
def open_writer(
    kind: str,
    out: Path | None,
    model: str,
    arch: str,
    header: bool = True,
    min_confidence: float | None = None,
    overwrite: bool = True,
) -> Iterator[Write]:
    """A function that writes predictions, to stdout or, whole or not at all, to a file.

    Args:
        kind: See `kind`.
        out: None: stdout.
        model: Name, for the JSON document.
        arch: Likewise.
        header: Whether a CSV begins with the names of its columns.
        min_confidence: Where it is given, a last column `confident` says whether a prediction
            reaches it, count probability included.
        overwrite: Whether a file that has appeared meanwhile is replaced.
    """
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # as in a file, whatever the locale
            sys.stdout.reconfigure(encoding="utf-8")
        with _lines(kind, sys.stdout, model, arch, header, min_confidence) as write:
            yield write
    elif kind == "npy":
        with whole_file(out, overwrite) as stream, _sums(stream) as write:
            yield write
    else:
        with whole_file(out, overwrite) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            with _lines(kind, text, model, arch, header, min_confidence) as write:
                yield write
            text.flush()
            text.detach()


@contextmanager
def _lines(
    kind: str, text: TextIO, model: str, arch: str, header: bool, min_confidence: float | None
) -> Iterator[Write]:
    """Rows as they come, so that memory does not grow with the number of strips."""
    names = COLUMNS if min_confidence is None else (*COLUMNS, "confident")
    table = csv.writer(text, lineterminator="\n")
    told = on_one_line if kind == "csv" and text.isatty() else as_text  # a file has it whole
    comma = itertools.chain([""], itertools.repeat(",\n"))  # between rows of a JSON document

    def write(chunk: FilePredictions) -> None:
        for index, prediction in enumerate(chunk.predictions, chunk.start):
            row = {
                "file": told(chunk.file),
                "index": index,
                "line": chunk.line,
                **_plain(prediction),
            }
            if min_confidence is not None:
                row["confident"] = (prediction.probability or 0) >= min_confidence
            if kind == "csv":
                table.writerow(cell(row[name]) for name in names)
            elif kind == "jsonl":
                text.write(json.dumps(row) + "\n")
            else:
                text.write(next(comma) + json.dumps(row))

    if kind == "csv" and header:
        table.writerow(names)
    elif kind == "json":
        named = json.dumps({"model": as_text(model), "arch": arch})
        text.write(f'{named[:-1]}, "predictions": [\n')
    yield write
    if kind == "json":
        text.write("\n]}\n")


@contextmanager
def _sums(stream: BinaryIO) -> Iterator[Write]:
    """All sums as one int64 array."""
    import numpy as np

    sums: list[np.ndarray[Any, Any]] = []
    yield lambda chunk: sums.append(chunk.predictions.sum)
    np.save(stream, np.concatenate([np.zeros(0, np.int64), *sums]), allow_pickle=False)


def to_json(document: Mapping[str, Any]) -> str:
    """A document in ASCII; `as_text` for the names in it, null for what JSON has no number for."""
    return json.dumps(_with_text(document), indent=2, allow_nan=False)


def _with_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return as_text(value) if isinstance(value, str) else value


def _plain(prediction: Prediction) -> dict[str, Any]:
    """A prediction as plain values, rounded; None for what the model does not say."""
    row = prediction.to_dict()
    row["value"] = round(row["value"], 4)
    for name in ("confidence", "count_probability"):
        if row[name] is not None:
            row[name] = round(row[name], 6)
    return row


def cell(value: object) -> object:
    """A value as CSV holds it: lists with spaces between, true or false, nothing for None.

    A text that a spreadsheet would compute, as it begins like a formula, gets an apostrophe before
    it (OWASP, CSV Injection). Numbers stay numbers.
    """
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return value
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
