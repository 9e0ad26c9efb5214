"""`digitsum synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import options
from digitsum.coercion import whole_number
from digitsum.display import counted
from digitsum.errors import UsageError

EXAMPLES = (
    "digitsum synth strips",
    "digitsum synth short --digits mnist --strips 1000 --per-strip 1-3",
    "digitsum synth scans --strips 100 --pictures",
)
FILES = 3  # that strips are spread over
MOST_PICTURES = 300_000  # in a folder: more are not read again


def synth(
    out: Annotated[Path, typer.Argument(help="The folder to write; it is made if missing.")],
    digits: Annotated[
        str,
        typer.Option(
            metavar="builtin|mnist|mnist-test|FOLDER",
            help="Where single digits come from: scikit-learn, MNIST, or a folder with digits.npy "
            "(M, 28, 28) uint8 and labels.npy (M,).",
            rich_help_panel=options.DATA,
        ),
    ] = "builtin",
    mnist_root: options.MnistRoot = None,
    strips: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Number of strips.", rich_help_panel=options.OUTPUT),
    ] = 30_000,
    files: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of files that they are spread over.",
            show_default="3",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Write a PNG for each strip, and sums.csv with file, sum, count and digits.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    per_strip: Annotated[
        str,
        typer.Option(
            metavar="N|N-M",
            help="Number of digits in a strip: 4, or a range such as 1-8.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "4",
    width: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Width of a strip.",
            show_default="42 for each digit of the longest",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Random seed for digits and their places.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Compose strips and write them with their sums.

    Strips go to dataN.npy, their sums to labN.npy, and the digits of each strip to truthN.npz,
    which only evaluation reads. If --per-strip is a range, countN.npy says how many digits each
    strip holds.
    """
    from digitsum.cli.display import progress_bar, say
    from digitsum.datasets.digits import load_digits
    from digitsum.datasets.picture_folders import names_of_pictures, write_pictures
    from digitsum.datasets.synthesis import compose, names_of_files, reserved_folder, write

    fewest, most = _range(per_strip)
    written = _files(files, strips, pictures)
    inputs = [Path(digits, name) for name in ("digits.npy", "labels.npy")]
    counts = fewest < most
    names = names_of_pictures(strips) if pictures else names_of_files(written, counts)
    with reserved_folder(out, names, overwrite, inputs):
        made = compose(load_digits(digits, mnist_root), strips, (fewest, most), width, seed)
        if pictures:
            with progress_bar("writing", strips) as advance:
                write_pictures(made, out, overwrite, advance)
        else:
            write(made, out, written, overwrite, counts)
    count, height, pixels = made.images.shape
    say(
        f"wrote {counted(count, 'strip')} of {height} x {pixels} pixels in "
        f"{counted(written, 'picture' if pictures else 'file')} to {out}: "
        f"sums {made.sums.min()} to {made.sums.max()}, mean {made.sums.mean():.2f}"
    )


def _files(files: int | None, strips: int, pictures: bool) -> int:
    """How many files of strips, or pictures, are written.

    Raises:
        UsageError: There cannot be as many.
    """
    if pictures and files is not None:
        raise UsageError(f"--files {files}: with --pictures each strip has a file of its own")
    if pictures and strips > MOST_PICTURES:
        raise UsageError(f"--strips {strips}: --pictures writes {MOST_PICTURES:,} at most")
    if files is not None and files > strips:
        few = counted(strips, "strip")
        raise UsageError(f"--files {files}: {few} cannot be spread over more files")
    return strips if pictures else min(files or FILES, strips)


def _range(text: str) -> tuple[int, int]:
    """`4` or `1-8` as fewest and most."""
    fewest, dash, most = text.strip().partition("-")
    ends = whole_number(fewest), whole_number(most if dash else fewest)
    if ends[0] is None or ends[1] is None:
        raise UsageError(f"--per-strip {text}: give a number of digits, 4, or a range, 1-8")
    return ends[0], ends[1]
