"""`digitsum predict`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from digitsum.checkpoint_paths import is_checkpoint, is_last
from digitsum.cli import completion, options
from digitsum.cli.loading import listed_paths, load_models, model_files, strip_files
from digitsum.coercion import whole_number
from digitsum.display import counted
from digitsum.errors import DataError, UsageError

if TYPE_CHECKING:
    from digitsum.file_predictor import FilePredictions

EXAMPLES = (
    "digitsum predict images.npy",
    "digitsum predict scans/ --model cnn.pt --out sums.csv",
)


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Strips: .npy files of any length, .npz files, pictures of any size (PNG, JPEG, "
            "TIFF, BMP, GIF, WebP, PGM, JPEG 2000, AVIF; one strip for each page, or for each line "
            "of digits on a photograph), folders of pictures or of .npy files, a pattern in quotes "
            "such as 'scans/*.png', or - for a list of all these on stdin, one a line. A file that "
            "cannot be read is named, the others are predicted, and the exit code is 1.",
            metavar="IMAGES",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="A checkpoint, or reader: the bundled weights.",
            autocompletion=completion.checkpoints,
            show_default="reader",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    arch: options.Arch = None,
    fit: options.Fit = False,
    invert: Annotated[
        Literal["auto", "yes", "no"],
        typer.Option(
            metavar="auto|yes|no",
            help="Invert .npy and .npz strips. auto inverts those that are dark on light, unless "
            "the model was trained on your own strips. Pictures are told apart by themselves.",
            rich_help_panel=options.DATA,
        ),
    ] = "auto",
    digits_per_strip: options.DigitsPerStrip = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Predict the I-th of N shards of the strips. Their outputs, one after the other, "
            "are that of the whole.",
            show_default="all strips",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Mark predictions whose confidence, times their count probability, is below this: "
            "a last column, confident, says true or false.",
            show_default="none are marked",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    format: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option(
            metavar="csv|jsonl",
            help="Form of what is written to stdout or --out.",
            show_default="csv",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write: .csv, .jsonl, .json, or .npy for the sums alone.",
            show_default="stdout",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Draw the strips with their predictions instead of printing rows.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Draw the lines, digits and sums into the picture and write it: a .png or .jpg; "
            "of several pictures, a folder.",
            show_default="none is drawn",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Predict the sum of each strip.

    The columns are file, index, line (where a page holds several), sum, value, confidence,
    count_probability (how likely the strip holds the known number of digits at all: near 0 for what
    cannot be read), digits and positions (the pixel where each digit stands). A regressor leaves
    all after value empty.

    A countN.npy beside a dataN.npy says how many digits each of its strips holds, and so does the
    column count of the sums.csv in a folder of pictures.
    """
    from digitsum.cli import writers
    from digitsum.cli.annotating import annotator
    from digitsum.cli.display import progress_bar, say, say_overlap
    from digitsum.cli.terminal_images import show_predictions
    from digitsum.datasets.folders import named
    from digitsum.evaluation.overlap import TrainingOverlap, overlap_of_strips
    from digitsum.file_predictor import predict_files
    from digitsum.files import reserved_output
    from digitsum.predictions import CountCheck

    if show and out is None and (as_json or format):
        raise UsageError("--show draws on stdout: give --out too for what is to be written")
    kind = writers.kind(out, format, as_json)
    if min_confidence is not None and kind == "npy":
        raise UsageError("--min-confidence marks rows, and .npy holds sums alone: write .csv")
    number, shards = (1, 1) if shard is None else _shard(shard, kind)
    count = options.digit_count(digits_per_strip)
    images = listed_paths(images)
    inputs = [*strip_files(images), *model_files([model or "reader"], arch)]
    with reserved_output(out, overwrite, inputs) if out else nullcontext():
        (loaded,) = load_models([model or "reader"], device, precision, arch)
        found = predict_files(
            loaded, images, count, (number, shards), skip_broken=True, fit=fit, invert=invert
        )
        if model is None:  # said once all files are open: an error stands alone
            say(f"using the bundled weights (reader){_checkpoints_here()}")
        for line in (*found.notes, *(f"left out: {error}" for error in found.broken.values())):
            say(line)
        if min_confidence is not None and not found.has_confidence:
            raise UsageError(f"--min-confidence: {loaded.name} gives no confidence")
        overlap, unsure, counts = TrainingOverlap(), 0, CountCheck()
        draw = show_predictions if show else _nothing
        writer = writers.open_writer(
            kind, out, loaded.name, loaded.arch, number == 1, min_confidence, overwrite
        )
        bar = progress_bar("predicting", len(found)) if out else nullcontext(_nothing)
        drawing = (
            annotator(annotate, found.files, overwrite, inputs)
            if annotate
            else nullcontext(_nothing)
        )
        writing = nullcontext(_nothing) if show and out is None else writer
        with drawing as mark, writing as write, bar as advance:  # a refusal comes before the header
            for chunk in found:
                write(chunk)
                draw(chunk)
                mark(chunk)
                overlap += overlap_of_strips(loaded.checkpoint, chunk.strips)
                counts.add(chunk.predictions)
                probability = chunk.predictions.probability
                if min_confidence is not None and probability is not None:
                    unsure += int((probability < min_confidence).sum())
                advance(len(chunk.predictions))
        if min_confidence is not None:
            total = counted(len(found), "prediction")
            say(f"{unsure:,} of {total} below a confidence of {min_confidence:g}")
        differ = any(known is not None for known in found.counts)
        if doubt := counts.warning(None if differ else found.count):
            say(doubt)
        say_overlap(loaded.name, overlap)
        if out is not None:
            say(f"wrote {counted(len(found), 'prediction')} to {out}")
        if found.broken:
            files = counted(len(found.broken), "file")
            raise DataError(f"{files} left out ({named(list(found.broken))}), the others predicted")


def _nothing(chunk: FilePredictions | int) -> None:
    """Stands in for a writer, a drawer or a bar that was not asked for."""


def _shard(text: str, kind: str) -> tuple[int, int]:
    """`2/8` as 2 and 8."""
    number, shards = map(whole_number, text.partition("/")[::2])
    if number is None or shards is None or not 1 <= number <= shards:
        raise UsageError(f"--shard {text}: give I/N, the I-th of N shards, such as 1/8")
    if kind == "json":
        raise UsageError("--shard goes with CSV, JSON lines and .npy: give --format jsonl")
    return number, shards


def _checkpoints_here() -> str:
    """The checkpoints in this folder, which may have been meant, in words."""
    found = sorted(p.name for p in Path().iterdir() if is_checkpoint(p) and not is_last(p))
    return f"; --model takes {', '.join(found)} too" if found else ""
