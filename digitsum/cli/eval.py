"""`digitsum eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models, strips_for
from digitsum.cli.writers import to_json
from digitsum.errors import UsageError

EXAMPLES = (
    "digitsum eval cnn.pt",
    "digitsum eval reader --data mnist-test --show-errors 5",
)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint, or reader: the bundled weights.",
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
    show_errors: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Draw the N strips whose predicted sums are farthest off (of the model's own run, "
            "validation strips).",
            rich_help_panel=options.OUTPUT,
        ),
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Score a model on strips.

    The metrics are the five of the technical report. Single digits are scored too if the model
    tells them and they are known: for composed strips, for files with truthN.npz beside them, and
    from the column digits of sums.csv. Known numbers of digits are used as in predict and train.

    Without --data, the strips are the training and the validation strips of the model's own run.
    """
    from digitsum.cli.display import progress_bar, show_evaluation
    from digitsum.evaluation.overlap import split_rows_of
    from digitsum.evaluation.scoring import evaluate as evaluate_model

    count = options.digit_count(digits_per_strip)
    if as_json and show_errors:
        raise UsageError("--show-errors draws, --json prints one document: give one of them")
    (loaded,) = load_models([model], device, precision, arch)
    strips = strips_for([loaded], data, labels, mnist_root, fit)
    total = sum(map(len, split_rows_of(loaded.checkpoint, strips).values()))
    with progress_bar("evaluating", total) as advance:
        result = evaluate_model(loaded, strips, show_errors, advance, count)
    if as_json:
        typer.echo(to_json(result.to_dict()))
        return
    show_evaluation(result)
    if show_errors:
        from digitsum.cli.terminal_images import show_error

        for error in result.errors:
            show_error(error)
