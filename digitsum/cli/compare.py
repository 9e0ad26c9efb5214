"""`digitsum compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Two checkpoints or more, or reader.", autocompletion=completion.checkpoints
        ),
    ],
    data: options.Data = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    as_json: options.Json = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Compare models on the same strips, with the paired test that says whether they differ.

    Without --data, on the validation part that all of them used. Speeds are measured here, the
    models taking turns.
    """
    from digitsum import comparison, evaluation
    from digitsum.cli.show import show_comparison
    from digitsum.datasets import open_data
    from digitsum.inference import load_model

    loaded = [load_model(path, device, precision) for path in models]
    comparison.check_count(loaded)
    if data:
        strips = open_data(data, labels, mnist_root)
    else:
        comparison.check_same_validation(loaded)
        strips = evaluation.run_data(loaded[0].checkpoint, labels, mnist_root)
    result = comparison.compare(loaded, strips)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        show_comparison(result)
