"""`digitsum eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.errors import UsageError


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A checkpoint, or reader.", autocompletion=completion.checkpoints)
    ],
    data: options.Data = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    show_errors: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Draw the N strips that were read farthest off (of the run's own, the validation "
            "strips).",
        ),
    ] = 0,
    as_json: options.Json = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Score a model: the five metrics of the technical report, and single digits.

    Single digits are scored for a model that tells them, on strips whose truth is known: composed
    ones, and files with truthN.npz beside them.

    Without --data, on the training and the validation part of the strips that it was trained on.
    """
    from digitsum import evaluation
    from digitsum.cli.show import show_evaluation
    from digitsum.datasets import open_data
    from digitsum.inference import load_model

    if as_json and show_errors:
        raise UsageError("--show-errors draws, --json prints one document: give one of them")
    loaded = load_model(model, device, precision)
    if data:
        strips = open_data(data, labels, mnist_root)
    else:
        strips = evaluation.run_data(loaded.checkpoint, labels, mnist_root)
    result = evaluation.evaluate(loaded, strips, show_errors)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
        return
    show_evaluation(result)
    if show_errors:
        from digitsum.cli.pictures import show_misread

        for misread in result.misread:
            show_misread(misread)
