"""Options that several commands share, declared once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from digitsum.cli import completion
from digitsum.coercion import whole_number
from digitsum.errors import UsageError

DATA, MODEL, RUN, OUTPUT = "Data", "Model", "Run", "Output"  # groups in the help
# read as text: the help is there before YAML is loaded
RECIPES = {path.stem: path.read_text(encoding="utf-8")
           for path in sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))}  # fmt: skip
ARCHITECTURES = "|".join([*RECIPES, "MODULE:CLASS"])
DEVICES = "auto|cpu|cuda|cuda:N|mps"


def from_recipes(key: str) -> str:
    """A key's value in each bundled recipe: `cnn 50, reader 16`, or `32` if it is one for all."""
    found = {name: re.search(rf"^{key}: *(\S+)", text, re.M) for name, text in RECIPES.items()}
    values = {name: match[1] if match else "none" for name, match in found.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _data(default: str) -> Any:
    return typer.Option(
        "--data",
        metavar="DATA",
        autocompletion=completion.data,
        help="Strips with their sums: a folder of dataN.npy and labN.npy, a folder of pictures "
        "with sums.csv, one data….npy, or one of the names builtin, mnist and mnist-test. Can be "
        "repeated.",
        show_default=default,
        rich_help_panel=DATA,
    )


Data = Annotated[list[str] | None, _data("the strips of the model's own run")]
DataToTrainOn = Annotated[list[str] | None, _data("builtin")]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Sums of the one data….npy; of a folder of pictures, a .csv with the columns file "
        "(relative to that folder) and sum, and perhaps count and digits.",
        show_default="the file beside it; sums.csv in the folder",
        rich_help_panel=DATA,
    ),
]
MnistRoot = Annotated[
    Path | None,
    typer.Option(
        "--mnist-root",
        metavar="FOLDER",
        envvar="DIGITSUM_MNIST",
        help="Folder with MNIST as torchvision lays it out.",
        show_default="torchvision downloads it",
        rich_help_panel=DATA,
    ),
]
Fit = Annotated[
    bool,
    typer.Option(
        "--fit",
        help="Scale .npy and .npz strips of other heights to 40 rows, as pictures are; single "
        "digits of 28x28 too.",
        rich_help_panel=DATA,
    ),
]


def model(help: str) -> Any:
    """`--model`, where it is `reader` unless another is named."""
    return typer.Option(
        "--model",
        metavar="MODEL",
        help=help,
        autocompletion=completion.checkpoints,
        rich_help_panel=MODEL,
    )


Arch = Annotated[
    list[str] | None,
    typer.Option(
        "--arch",
        metavar="MODULE:CLASS",
        help="Your own architecture that a checkpoint is of; it is imported. Can be repeated.",
        show_default="those of digitsum",
        rich_help_panel=MODEL,
    ),
]


def _device(help: str, default: str | bool) -> Any:
    return typer.Option(
        "--device", metavar=DEVICES, help=help, show_default=default, rich_help_panel=RUN
    )


def _precision(metavar: str, help: str, default: str | bool) -> Any:
    return typer.Option(
        "--precision", metavar=metavar, help=help, show_default=default, rich_help_panel=RUN
    )


_BF16 = "auto takes bf16 where the processor or GPU is faster in it."
Device = Annotated[str, _device("Where to compute. auto takes a GPU if there is one.", True)]
Precision = Annotated[
    str,
    _precision(
        "auto|fp32|bf16|int8",
        f"Precision of the convolutions. {_BF16} int8 is for reader on a CPU: several times as "
        "fast, nearly as accurate.",
        True,
    ),
]
DeviceOfRun = Annotated[
    str | None, _device("Where to compute. auto takes a GPU if there is one.", "auto")
]
PrecisionOfRun = Annotated[
    str | None, _precision("auto|fp32|bf16", f"Precision of the convolutions. {_BF16}", "auto")
]


def _digits_per_strip(default: str) -> Any:
    return typer.Option(
        "--digits-per-strip",
        metavar="N|any",
        help="Known number of digits in each strip, for models that tell digits.",
        show_default=default,
        rich_help_panel=MODEL,
    )


_COUNTS = "as the counts beside the strips say, or as many as "
DigitsPerStrip = Annotated[str | None, _digits_per_strip(f"{_COUNTS}the model was trained on")]
DigitsOfExport = Annotated[str | None, _digits_per_strip("as many as the model was trained on")]
DigitsOfRun = Annotated[str | None, _digits_per_strip(f"{_COUNTS}the recipe of reader says, 4")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Overwrite outputs that exist.", rich_help_panel=OUTPUT),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on stdout and nothing else.",
        rich_help_panel=OUTPUT,
    ),
]


def digit_count(text: str | None) -> Any:
    """`--digits-per-strip`: `4` as a number, `any` as it is, None if it was not given.

    Raises:
        UsageError: It is none of these.
    """
    if text is None or text == "any":
        return text
    if not (count := whole_number(text)):
        raise UsageError(f"--digits-per-strip {text}: give a whole number from 1 up, or any")
    return count
