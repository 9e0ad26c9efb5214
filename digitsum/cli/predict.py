"""`digitsum predict`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from digitsum.cli import completion, options
from digitsum.errors import UsageError, prefixed


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Strips: .npy files of any length, .npz files, pictures (PNG, JPEG, TIFF, BMP) of "
            "any size, or folders of pictures.",
            metavar="IMAGES",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint, or reader: the weights that ship with digitsum.",
            autocompletion=completion.checkpoints,
            show_default="reader",
        ),
    ] = None,
    digits_per_strip: Annotated[
        str | None,
        typer.Option(
            metavar="N|any",
            help="Digits that each strip is known to hold; models that read digits use it.",
            show_default="the model's",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Mark readings that are less sure than this probability: a last column, sure, "
            "says true or false.",
            show_default="none are marked",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Read the I-th of N parts of the strips; the outputs, one after the other, are "
            "that of the whole.",
            show_default="all",
        ),
    ] = None,
    format: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option(help="Of what is written to stdout or --out.", show_default="csv"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .csv, .jsonl, .json, or .npy for the sums alone.",
            show_default="stdout",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    show: Annotated[
        bool,
        typer.Option("--show", help="Draw the strips with what is read, in place of lines."),
    ] = False,
    as_json: options.Json = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Read strips: a line each with its sum and the value behind it.

    Columns: index, sum, value, confidence, digits, columns (the pixel where each digit stands),
    file. A regressor leaves confidence, digits and columns empty.
    """
    from digitsum.cli import writers
    from digitsum.cli.pictures import show_readings
    from digitsum.cli.show import say, say_known
    from digitsum.datasets.arrays import slices
    from digitsum.datasets.pictures import open_images
    from digitsum.evaluation import Known, count_known
    from digitsum.inference import load_model, part_rows
    from digitsum.outputs import check_output

    if show and out is None and (as_json or format):
        raise UsageError("--show draws on stdout: give --out too for what is to be written")
    kind = writers.kind(out, format, as_json)
    if min_confidence is not None and kind == "npy":
        raise UsageError("--min-confidence marks rows, and .npy holds sums alone: write .csv")
    count = None if digits_per_strip is None else options.count(digits_per_strip)
    number, parts = (1, 1) if part is None else _part(part, kind)
    if out is not None:
        check_output(out, overwrite)
    files = open_images(images)
    if model is None:
        say(f"reading with the weights that ship with digitsum (reader){_checkpoints_here()}")
    loaded = load_model(model or "reader", device, precision)
    if digits_per_strip is None:
        count = loaded.recipe.digits_per_strip
    known, unsure = Known(0, 0), 0
    for file in files:
        with prefixed(str(file.path)):
            tried = loaded.check_width(file.shape[2], count)
        if min_confidence is not None and tried.confidence is None:
            raise UsageError(f"--min-confidence: {loaded.name} does not say how sure it is")
    rows = part_rows([file.shape[0] for file in files], number, parts)
    draw = show_readings if show else _nothing
    writer = writers.open_writer(
        kind, out, loaded.name, loaded.arch, header=number == 1, min_confidence=min_confidence
    )
    with nullcontext(_nothing) if show and out is None else writer as write:
        for file, own in zip(files, rows, strict=True):
            for start, strips in slices(file, own):
                readings = loaded.read(strips, count)
                write(str(file.path), start, readings)
                draw(str(file.path), start, strips, readings)
                known += count_known(loaded.checkpoint, strips)
                if min_confidence is not None and readings.confidence is not None:
                    unsure += int((readings.confidence < min_confidence).sum())
    if min_confidence is not None:
        strips_read = sum(len(own) for own in rows)
        say(f"{unsure:,} of {strips_read:,} readings are less sure than {min_confidence:g}")
    say_known(loaded.name, known)


def _nothing(*given: object) -> None:
    """Stands in for a writer or a drawer that was not asked for."""


def _part(text: str, kind: str) -> tuple[int, int]:
    """`2/8` as 2 and 8."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise UsageError(f"--part {text}: give I/N, the I-th of N parts, such as 1/8")
    if kind == "json":
        raise UsageError("--part goes with CSV, JSON lines and .npy: give --format jsonl")
    return int(number), int(parts)


def _checkpoints_here() -> str:
    """The checkpoints in this folder, which may have been meant, in words."""
    found = sorted(p.name for p in Path().glob("*.pt") if not p.name.endswith(".last.pt"))
    return f"; --model takes {', '.join(found)} too" if found else ""
