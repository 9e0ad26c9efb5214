"""`digitsum check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models
from digitsum.cli.writers import to_json
from digitsum.errors import DataError, UsageError

if TYPE_CHECKING:
    from digitsum.datasets.strips import StripSet

EXAMPLES = (
    "digitsum check my-strips",
    "digitsum check scans/ --digits-per-strip any",
)


def check(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="Strips with their sums, as for train --data. Without sums the strips alone are "
            "looked at.",
            autocompletion=completion.data,
        ),
    ],
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    fit: options.Fit = False,
    model: Annotated[
        Path,
        options.model("What reads a sample of them: a checkpoint, or reader, the bundled weights."),
    ] = Path("reader"),
    arch: options.Arch = None,
    digits_per_strip: options.DigitsPerStrip = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Look through strips and sums before training on them or reading them.

    Says what they look like, how the sums are distributed, which are out of reach, whether strips
    are there twice, how many digits they seem to hold, and how many of a sample of 1,000 the model
    reads right. Exit code 1 where training would fail.
    """
    from digitsum.cli.display import show_table
    from digitsum.evaluation.data_check import check_data, failing

    count = options.digit_count(digits_per_strip)
    (loaded,) = load_models([model], device, precision, arch)
    strips, without = _opened(data, labels, mnist_root, fit)
    found = check_data(strips, loaded, count, without)
    if as_json:
        typer.echo(to_json(found.to_dict()))
    else:
        show_table(found.table())
    if found.failures:
        raise DataError(f"training would fail: {failing(found.failures)}")


def _opened(
    data: list[str], labels: Path | None, mnist_root: Path | None, fit: bool
) -> tuple[StripSet, str]:
    """The strips, and why they have no sums; empty if they have."""
    import warnings

    import numpy as np

    from digitsum.datasets import DataOptions
    from digitsum.datasets.image_files import open_images
    from digitsum.datasets.strips import StripSet
    from digitsum.errors import DataWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the table says it
        try:
            return DataOptions(data, labels, mnist_root, fit).open(), ""
        except DataError as error:
            try:
                files = open_images([Path(name) for name in data], fit)
            except (DataError, UsageError):
                raise error from None
            widths = {file.shape[2] for file in files}
            if len(widths) > 1:
                raise error from None
            total = sum(file.shape[0] for file in files)
            return StripSet(data, files, np.zeros(total, np.int64)), str(error)
