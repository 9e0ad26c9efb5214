"""`digitsum synth`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import options
from digitsum.errors import UsageError


def synth(
    out: Annotated[Path, typer.Argument(help="The folder to write; made if missing.")],
    digits: Annotated[
        str,
        typer.Option(
            help="Where single digits come from: builtin (scikit-learn's), mnist, mnist-test, or "
            "a folder with digits.npy (M, 28, 28) uint8 and labels.npy (M,)."
        ),
    ] = "builtin",
    strips: Annotated[int, typer.Option(min=1, help="Strips in all.")] = 30_000,
    files: Annotated[int, typer.Option(min=1, help="Files that they are spread over.")] = 3,
    per_strip: Annotated[
        str, typer.Option(metavar="N|N-M", help="Digits in a strip: 4, or a range like 1-8.")
    ] = "4",
    width: Annotated[
        int | None,
        typer.Option(help="Columns of a strip.", show_default="42 for each of the most digits"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the strips.")] = 0,
    mnist_root: options.MnistRoot = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write strips and sums: dataN.npy, labN.npy, and truthN.npz for evaluation alone."""
    from digitsum.cli.show import say
    from digitsum.datasets.digits import load_digits
    from digitsum.datasets.synthesis import check_folder, compose, write

    wanted = _range(per_strip)
    if files > strips:
        raise UsageError(f"--files {files}: {strips} strips cannot be spread over more files")
    check_folder(out, files, overwrite)
    made = compose(load_digits(digits, mnist_root), strips, wanted, width, seed)
    write(made, out, files)
    count, height, columns = made.images.shape
    spread = "1 file" if files == 1 else f"{files} files"
    say(
        f"wrote {count:,} strips of {height} x {columns} in {spread} to {out}: "
        f"sums {made.sums.min()} to {made.sums.max()}, mean {made.sums.mean():.2f}"
    )


def _range(text: str) -> tuple[int, int]:
    """`4` or `1-8` as fewest and most."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    if not match:
        raise UsageError(f"--per-strip {text}: give a number of digits, 4, or a range, 1-8")
    fewest = int(match[1])
    return fewest, int(match[2] or fewest)
