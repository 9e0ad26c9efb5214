"""`digitsum report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models, model_files, strip_files, strips_for
from digitsum.display import as_text
from digitsum.errors import InstallationError
from digitsum.files import check_output, reserved_output, whole_file

EXAMPLES = (
    "digitsum report cnn.pt reader --data mnist-test",
    "digitsum report cnn.pt --out cnn.html",
)


def report(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoints, or reader: the bundled weights.",
            autocompletion=completion.checkpoints,
        ),
    ],
    data: options.Data = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    fit: options.Fit = False,
    arch: options.Arch = None,
    digits_per_strip: options.DigitsPerStrip = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The page to write.", rich_help_panel=options.OUTPUT),
    ] = Path("report.html"),
    overwrite: options.Overwrite = False,
) -> None:
    """Write one HTML page about models.

    It has tables, learning curves, errors and explanations, and needs no network and no other file.
    Without --data, the strips are those on which all the models were validated. Needs the extra
    report: pip install 'digitsum[report]'.
    """
    count = options.digit_count(digits_per_strip)
    inputs = [*model_files(models, arch), *strip_files(data or (), labels, mnist_root)]
    check_output(out, overwrite, inputs)
    try:
        from digitsum.report.content import build_content
        from digitsum.report.page import render
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the report needs {error.name}, which is not installed: pip install 'digitsum[report]'"
        ) from error
    from digitsum.cli.display import progress_bar, say
    from digitsum.evaluation.comparison import strips_to_predict

    with reserved_output(out, overwrite, inputs):
        loaded = load_models(models, device, precision, arch)
        own = [name for model in loaded for name in model.checkpoint.data["name"]]
        check_output(out, overwrite, strip_files(() if data else own))
        strips = strips_for(loaded, data, labels, mnist_root, fit)
        with progress_bar("comparing", strips_to_predict(loaded, strips)) as advance:
            content = build_content(loaded, strips, advance, count)
        page = as_text(render(content)).encode()
        with whole_file(out, overwrite) as stream:
            stream.write(page)
    say(f"wrote {out}, {len(page) / 1e6:.1f} MB: open it in a browser")
