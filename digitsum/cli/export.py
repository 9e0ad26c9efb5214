"""`digitsum export`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models, model_files
from digitsum.errors import InstallationError, UsageError
from digitsum.files import check_output, reserved_output

EXAMPLES = (
    "digitsum export reader reader.onnx",
    "digitsum export cnn.pt cnn.onnx --overwrite",
)


def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint, or reader: the bundled weights.",
            autocompletion=completion.checkpoints,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    arch: options.Arch = None,
    digits_per_strip: options.DigitsOfExport = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a model as an ONNX file.

    The file runs without torch. It takes uint8 strips of the model's width, any number at once.
    Its outputs are value, sum and, for reader, confidence, count_probability and digits: int8, one
    for each column of 4 pixels, -1 for a blank. The known number of digits is fixed in the file.
    Needs the extra onnx: pip install 'digitsum[onnx]'.
    """
    if out.suffix.lower() != ".onnx":
        raise UsageError(f"{out}: name the file .onnx")
    inputs = model_files([model], arch)
    check_output(out, overwrite, inputs)
    asked = options.digit_count(digits_per_strip)
    try:
        import onnx  # noqa: F401 - the exporter needs both, and says so late
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the export needs {error.name}, which is not installed: pip install 'digitsum[onnx]'"
        ) from error
    from digitsum.cli.display import progress_bar, say
    from digitsum.onnx import export as write

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # the exporter talks
    with reserved_output(out, overwrite, inputs), progress_bar("exporting", 3) as advance:
        (loaded,) = load_models([model], "cpu", "fp32", arch)
        advance(1)
        count = loaded.digit_count(asked)
        loaded.check_width(loaded.width, count)
        write(loaded, out, count, advance, overwrite)
    size = out.stat().st_size / 1e6
    say(f"wrote {out}, {size:.1f} MB: strips uint8 (N, 40, {loaded.width})")
