"""`digitsum train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import digit_notes, find_modules_here, model_files, strip_files
from digitsum.display import counted
from digitsum.files import check_checkpoint_paths
from digitsum.training.distributed import World

if TYPE_CHECKING:
    from digitsum.datasets import DataOptions
    from digitsum.recipe import Scalar
    from digitsum.training.events import Event, OnEvent, Result

EXAMPLES = (
    "digitsum train --arch cnn --epochs 50",
    "digitsum train --arch reader --data mine --out mine.pt --seed 1",
)


def train(
    data: options.DataToTrainOn = None,
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    fit: options.Fit = False,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of training strips at most; validation strips stay all.",
            show_default="all",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar=options.ARCHITECTURES,
            help="Architecture, one of digitsum's or a class of your own.",
            show_default="none; name it here or in a recipe",
            autocompletion=completion.architectures,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    digits_per_strip: options.DigitsOfRun = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="none|imagenet|reader|FILE",
            help="Weights to start from. resnet takes imagenet, none, or a file in torchvision's "
            "format; reader takes none, reader (the bundled weights), or a reader's checkpoint.",
            show_default=options.from_recipes("weights"),
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of passes over the training strips.",
            show_default=options.from_recipes("epochs"),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of strips in a step.",
            show_default=options.from_recipes("batch_size"),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Learning rate; the highest one if the schedule varies it.",
            show_default=options.from_recipes("lr"),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Random seed for initialisation, order and dropout.",
            show_default="0",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml|fast",
            help="A recipe; its keys come after the architecture's own. fast trains a small "
            "reader in a minute.",
            show_default="none",
            autocompletion=completion.recipe_files,
            rich_help_panel=options.RUN,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any key of the recipe. Can be repeated.",
            show_default="none",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.last.pt",
            help="Resume a run after its last finished epoch.",
            show_default="a new run",
            autocompletion=completion.checkpoints,
            rich_help_panel=options.RUN,
        ),
    ] = None,
    device: options.DeviceOfRun = None,
    precision: options.PrecisionOfRun = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pt",
            help="The checkpoint to write.",
            show_default="ARCH.pt",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Train a model on strips labelled with their sums.

    Pictures become strips as for predict; narrower ones end in black. Where the strips come with
    how many digits each holds (countN.npy, or the column count of sums.csv), that is what is
    known; else --digits-per-strip.

    Without --data, the strips are composed from scikit-learn's handwritten digits (builtin).
    Two checkpoints are written: ARCH.pt with the weights of lowest validation loss, and
    ARCH.last.pt to resume from. Precedence: the architecture's recipe, then --recipe, then --set,
    then the other options.

    To train over several processes, each of which takes a shard of every batch: torchrun
    --nproc-per-node N -m digitsum train …
    """
    from digitsum.datasets import DataOptions
    from digitsum.recipe import merge_sources

    flags = {
        "arch": arch,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "limit": limit,
        "digits_per_strip": options.digit_count(digits_per_strip),
        "weights": weights,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    given = merge_sources(recipe, settings or (), flags)
    if ":" in str(given.get("arch")):
        find_modules_here()
    strips = DataOptions(data or (), labels, mnist_root, fit)
    inputs = [*strip_files(data or (), labels), *([recipe] if recipe else [])]
    if resume is None:
        _start(given, strips, out, overwrite, inputs)
    else:
        _resume(resume, given, strips, out)


def _start(
    given: Mapping[str, Scalar],
    data: DataOptions,
    out: Path | None,
    overwrite: bool,
    inputs: Sequence[Path],
) -> None:
    """A run from its beginning."""
    from digitsum.recipe import Recipe

    recipe = Recipe.from_dict(given)

    from digitsum import training

    path = out or training.default_path(recipe.arch)
    if World.from_environment().is_main:  # the others would find what it has just written
        check_checkpoint_paths(path, overwrite, [*inputs, *model_files([recipe.weights])])

    from digitsum.cli.display import run_shown, say
    from digitsum.models import resolve_options
    from digitsum.training.events import Start

    recipe = resolve_options(recipe)
    strips = data.open(fallback=["builtin"])
    notes = []
    if "digits_per_strip" in recipe.options:
        asked = "digits_per_strip" in given
        notes = list(digit_notes(recipe.digits_per_strip, asked, strips))
    for note in strips.notes:
        say(note)

    def run(report: OnEvent) -> Result:
        def told(event: Event) -> None:
            if isinstance(event, Start):  # said once nothing is wrong: an error stands alone
                for note in notes:
                    say(note)
            report(event)

        return training.train(
            strips, recipe, out=path, overwrite=overwrite, progress=False, on_event=told
        )

    run_shown(path, run)


def _resume(resume: Path, given: Mapping[str, Scalar], data: DataOptions, out: Path | None) -> None:
    """The rest of a run that stopped."""
    from digitsum import training
    from digitsum.cli.display import run_shown, say
    from digitsum.evaluation.overlap import given_or_own
    from digitsum.training.resuming import StoppedRun

    stopped = StoppedRun.open(resume, given, out)
    if stopped.finished:
        epochs = counted(stopped.recipe.epochs, "epoch")
        say(f"{resume} is of a finished run of {epochs}: nothing is left to do")
        return
    strips = given_or_own(data, [(str(resume), stopped.checkpoint)])
    for note in strips.notes:
        say(note)
    say(f"resuming after epoch {stopped.epochs_done} of {stopped.recipe.epochs}")
    run_shown(
        stopped.path,
        lambda report: training.resume(stopped, strips, progress=False, on_event=report),
        resumed=True,
    )
