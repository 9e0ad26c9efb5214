"""`digitsum export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.errors import InstallationError, UsageError
from digitsum.outputs import check_output


def export(
    model: Annotated[
        Path, typer.Argument(help="A checkpoint, or reader.", autocompletion=completion.checkpoints)
    ],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    digits_per_strip: Annotated[
        str | None,
        typer.Option(
            metavar="N|any",
            help="Digits that each strip is known to hold, fixed in the file.",
            show_default="the model's",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a model as ONNX: uint8 strips in, sums out, no torch needed to run it.

    Strips of the model's width, any number at once. Outputs value, sum and, of a reader,
    confidence and digits: int8, one a column of 4 pixels, -1 for nothing. Needs the extra onnx: pip
    install 'digitsum[onnx]'.
    """
    if out.suffix != ".onnx":
        raise UsageError(f"{out}: name the file .onnx")
    check_output(out, overwrite)
    count = None if digits_per_strip is None else options.count(digits_per_strip)
    try:
        import onnx  # noqa: F401 - the exporter needs both, and says so late
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the export needs {error.name}, which is not installed: pip install 'digitsum[onnx]'"
        ) from error
    from digitsum.cli.show import say
    from digitsum.inference import load_model
    from digitsum.onnx import export as write

    loaded = load_model(model, "cpu", "fp32")
    width = int(loaded.checkpoint.data["width"])
    if digits_per_strip is None:
        count = loaded.recipe.digits_per_strip
    loaded.check_width(width, count)
    write(loaded, out, count)
    size = out.stat().st_size / 1e6
    say(f"wrote {out}, {size:.1f} MB: strips uint8 (N, 40, {width})")
