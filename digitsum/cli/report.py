"""`digitsum report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.errors import InstallationError
from digitsum.outputs import check_output, whole_file


def report(
    models: Annotated[
        list[Path],
        typer.Argument(help="Checkpoints, or reader.", autocompletion=completion.checkpoints),
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    overwrite: options.Overwrite = False,
    data: options.Data = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Write one HTML page about models: tables, curves, errors, and what they look at.

    It needs no network and nothing beside it. Without --data, on the validation part that all of
    them used. Needs the extra report: pip install 'digitsum[report]'.
    """
    check_output(out, overwrite)
    try:
        from digitsum.report.gather import gather
        from digitsum.report.page import render
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the report needs {error.name}, which is not installed: pip install 'digitsum[report]'"
        ) from error
    from digitsum import comparison, evaluation
    from digitsum.cli.show import say
    from digitsum.datasets import open_data
    from digitsum.inference import load_model

    loaded = [load_model(path, device, precision) for path in models]
    if data:
        strips = open_data(data, labels, mnist_root)
    else:
        comparison.check_same_validation(loaded)
        strips = evaluation.run_data(loaded[0].checkpoint, labels, mnist_root)
    page = render(gather(loaded, strips)).encode()
    with whole_file(out) as stream:
        stream.write(page)
    say(f"wrote {out}, {len(page) / 1e6:.1f} MB: open it in a browser")
