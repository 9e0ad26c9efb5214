"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from digitsum.cli import completion
from digitsum.errors import UsageError


def _data(default: str) -> Any:
    return typer.Option(
        "--data",
        metavar="DATA",
        autocompletion=completion.data,
        help="Strips and sums: a folder of dataN.npy and labN.npy, one data….npy, or a name: "
        "builtin, mnist, mnist-test. Repeatable.",
        show_default=default,
    )


Data = Annotated[list[str] | None, _data("the run's own")]
DataToLearnFrom = Annotated[list[str] | None, _data("builtin")]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="Sums of the one data….npy.", show_default="the file beside it"),
]
MnistRoot = Annotated[
    Path | None,
    typer.Option(
        "--mnist-root",
        envvar="DIGITSUM_MNIST",
        help="Folder in which torchvision laid MNIST out.",
        show_default="torchvision downloads it",
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps. auto: a GPU if there is one."),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, fp32, bf16, or int8 for reader on a CPU: several times as fast, nearly as "
        "exact. auto: bf16 where the processor or GPU is faster in it.",
    ),
]
DeviceOfRun = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", show_default="auto"),
]
PrecisionOfRun = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="auto, fp32 or bf16. auto: bf16 where the processor or GPU is faster in it.",
        show_default="auto",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over outputs that exist.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]


def count(text: str) -> int | None:
    """`--digits-per-strip`: `4` as a number, `any` as None.

    Raises:
        UsageError: It is neither.
    """
    if text == "any":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--digits-per-strip {text}: give a whole number from 1 up, or any")
    return int(text)
