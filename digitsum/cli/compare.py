"""`digitsum compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models, strips_for
from digitsum.cli.writers import to_json

EXAMPLES = (
    "digitsum compare cnn.pt resnet.pt",
    "digitsum compare cnn.pt reader --data mnist-test --json > comparison.json",
)


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more checkpoints, or reader: the bundled weights.",
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
    as_json: options.Json = False,
) -> None:
    """Compare models on the same strips.

    A paired test says whether two models differ by more than chance. Without --data, the strips are
    those on which all the models were validated. Speeds are measured here, the models taking turns.
    """
    from digitsum.cli.display import progress_bar, show_comparison
    from digitsum.evaluation.comparison import check_count, strips_to_predict
    from digitsum.evaluation.comparison import compare as compare_models

    check_count(models)
    count = options.digit_count(digits_per_strip)
    loaded = load_models(models, device, precision, arch)
    strips = strips_for(loaded, data, labels, mnist_root, fit)
    with progress_bar("comparing", strips_to_predict(loaded, strips)) as advance:
        result = compare_models(loaded, strips, on_progress=advance, digits_per_strip=count)
    if as_json:
        typer.echo(to_json(result.to_dict()))
    else:
        show_comparison(result)
