"""`digitsum train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from digitsum.cli import completion, options
from digitsum.distributed import World
from digitsum.outputs import check_checkpoint_paths

if TYPE_CHECKING:
    from digitsum.recipe import Scalar


def train(
    arch: Annotated[
        str | None,
        typer.Option(
            help="Architecture: cnn, reader or resnet.",
            show_default="none: it must be given, here or in a recipe",
            autocompletion=completion.architectures,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training strips.", show_default="the recipe's"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Strips in a step.", show_default="the recipe's")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate.", show_default="the recipe's")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Training strips at most; validation stays whole.", show_default="all"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Where to start from. resnet: imagenet, none, or a file in torchvision's format; "
            "reader: none, reader (the weights that ship), or a reader's checkpoint.",
            show_default="the recipe's",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of initialisation, order, dropout, restarts.", show_default="0"),
    ] = None,
    data: options.DataToLearnFrom = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A YAML recipe; its keys go over the architecture's own.",
            show_default="none",
            autocompletion=completion.recipe_files,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Sets any key of the recipe. Repeatable.",
            show_default="none",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The checkpoint to write.", show_default="ARCH.pt")
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on from the last finished epoch of this ….last.pt.",
            show_default="a fresh run",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    device: options.DeviceOfRun = None,
    precision: options.PrecisionOfRun = None,
) -> None:
    """Train a model on strips whose only label is the sum of their digits.

    Without --data, on strips composed from scikit-learn's handwritten digits (builtin). Writes
    ARCH.pt, the weights of lowest validation loss, and ARCH.last.pt to go on from.
    Precedence: the architecture's recipe, then --recipe, then --set, then these flags.

    Over several processes: torchrun --nproc-per-node N -m digitsum train …; each batch is shared.
    """
    from digitsum.recipe import gather

    flags = {
        "arch": arch,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "limit": limit,
        "weights": weights,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    given = gather(recipe, settings or (), flags)
    if resume is None:
        _start(given, data or ["builtin"], labels, mnist_root, out, overwrite)
    else:
        _go_on(resume, given, data, labels, mnist_root, out)


def _start(
    given: Mapping[str, Scalar],
    data: Sequence[str],
    labels: Path | None,
    mnist_root: Path | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """A run from its beginning."""
    from digitsum.recipe import Recipe

    recipe = Recipe.from_dict(given)
    path = out or Path(f"{recipe.arch}.pt")
    if World.of_environment().leads:  # the others would find what it has just written
        check_checkpoint_paths(path, overwrite)

    from digitsum import training
    from digitsum.cli.show import run_shown
    from digitsum.datasets import open_data

    strips = open_data(data, labels, mnist_root)
    run_shown(path, lambda report: training.train(recipe, strips, path, report))


def _go_on(
    resume: Path,
    given: Mapping[str, Scalar],
    data: Sequence[str] | None,
    labels: Path | None,
    mnist_root: Path | None,
    out: Path | None,
) -> None:
    """The rest of a run that stopped."""
    from digitsum import training
    from digitsum.cli.show import run_shown, say
    from digitsum.datasets import open_data
    from digitsum.evaluation import run_data
    from digitsum.resuming import StoppedRun

    stopped = StoppedRun.open(resume, given, out)
    if stopped.finished:
        epochs = stopped.recipe.epochs
        say(f"{resume} is of a finished run of {epochs} epochs: there is nothing left to do")
        return
    if data:
        strips = open_data(data, labels, mnist_root)
    else:
        strips = run_data(stopped.checkpoint, labels, mnist_root)
    say(f"going on after epoch {stopped.epochs_done} of {stopped.recipe.epochs}")
    run_shown(stopped.path, lambda report: training.resume(stopped, strips, report), True)
