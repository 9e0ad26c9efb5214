"""Models and strips, as the options of a command name them."""

from __future__ import annotations

import os
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from digitsum.checkpoint_paths import bundled_path
from digitsum.display import counted
from digitsum.errors import UsageError

MOST_LISTED = 100_000  # paths on stdin
MOST_BYTES = 50_000_000  # of them
SIBLINGS = ("lab", "labels", "truth", "count")  # names for `data` of what belongs to strips

if TYPE_CHECKING:
    from digitsum.datasets.strips import StripSet
    from digitsum.inference import LoadedModel


def find_modules_here() -> None:
    """Lets `--arch my_module:Class` name a module in this folder; installed ones come first."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


def load_models(
    paths: Sequence[Path | str], device: str, precision: str, arch: Sequence[str] | None
) -> list[LoadedModel]:
    """The models behind the checkpoints.

    Raises:
        UsageError: An architecture was named that none of them is of.
        CheckpointError: See `inference.load_model`.
    """
    from digitsum.inference import load_model

    named = arch or []
    if named:
        find_modules_here()
    models = [load_model(path, device, precision, named) for path in paths]
    for name in named:
        if name not in (found := {model.arch for model in models}):
            raise UsageError(f"--arch {name}: no checkpoint here is of it, but of {_listed(found)}")
    return models


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def model_files(models: Iterable[Path | str], arch: Sequence[str] | None = None) -> list[Path]:
    """Where checkpoints, bundled or not, and modules may lie; see `files.check_output`."""
    modules = [name.partition(":")[0].replace(".", "/") for name in arch or ()]
    found = [Path(f"{module}.py") for module in modules]
    return found + [path for name in models for path in (Path(name), bundled_path(str(name)))]


def strip_files(
    sources: Iterable[Path | str], labels: Path | None = None, mnist_root: Path | None = None
) -> list[Path]:
    """Strips and pictures with their labels and truth; see `files.check_output`.

    Args:
        sources: Files and folders; names such as `mnist` are none.
        labels: `--labels`.
        mnist_root: `--mnist-root`.
    """
    found = [labels] if labels else []
    if mnist_root and _is_folder(mnist_root):
        found += mnist_root.glob("MNIST/raw/*")
    for source in map(Path, sources):
        for path in _matched(source):
            found += _in_folder(path) if _is_folder(path) else [path, *_siblings(path)]
    return found


def _matched(source: Path) -> list[Path]:
    """The files that a pattern names; of anything else, itself."""
    from digitsum.datasets.folders import is_pattern, matching

    try:
        return matching(source) if is_pattern(source) else [source]
    except (OSError, ValueError):  # who reads it will say so
        return [source]


def listed_paths(given: Sequence[Path]) -> list[Path]:
    """Paths as they were given, those on stdin in the place of `-`.

    Raises:
        UsageError: `-` stands there twice, or stdin holds no path or too much.
    """
    if Path("-") not in given:
        return list(given)
    if given.count(Path("-")) > 1:
        raise UsageError("- is given twice: stdin can be read once")
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or content.count(b"\n") > MOST_LISTED:
        raise UsageError(
            f"-: stdin holds more than {MOST_LISTED:,} paths, or {MOST_BYTES:,} bytes: give a "
            "shorter list, or a folder"
        )
    lines = [line.rstrip(b"\r") for line in content.removeprefix(BOM_UTF8).split(b"\n")]
    listed = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not listed:
        raise UsageError("-: stdin holds no path: write one in each line")
    at = given.index(Path("-"))
    return [*given[:at], *listed, *given[at + 1 :]]


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - it knows of names that are too long


def _in_folder(folder: Path) -> list[Path]:
    """What is read where a folder is named, and what belongs to that."""
    from digitsum.datasets.pictures import SUFFIXES
    from digitsum.datasets.sums_csv import NAME

    strips = re.compile(rf"(data|{'|'.join(SIBLINGS)})\d*\.np[yz]", re.IGNORECASE)
    try:
        names = list(folder.iterdir())
    except OSError:  # who reads it will say so
        return []
    kinds = (*SUFFIXES, ".npy")
    return [
        path
        for path in names
        if strips.fullmatch(path.name) or path.suffix.lower() in kinds or path.name == NAME
    ]


def _siblings(path: Path) -> list[Path]:
    """Labels and truth of one file of strips, whether there are any or not."""
    names = [path.name.replace("data", word, 1) for word in SIBLINGS if "data" in path.name]
    return [path.with_name(name).with_suffix(end) for name in names for end in (".npy", ".npz")]


def strips_for(
    models: Sequence[LoadedModel],
    data: Sequence[str] | None,
    labels: Path | None,
    mnist_root: Path | None,
    fit: bool,
) -> StripSet:
    """The strips that the options name, or those of the models' own run.

    Raises:
        UsageError, DataError: See `evaluation.overlap.given_or_own`.
    """
    from digitsum.cli.display import say
    from digitsum.datasets import DataOptions
    from digitsum.evaluation.overlap import given_or_own

    given = DataOptions(data or (), labels, mnist_root, fit)
    strips = given_or_own(given, [(model.name, model.checkpoint) for model in models])
    for note in strips.notes:
        say(note)
    return strips


def digit_notes(known: int | None, asked: bool, strips: StripSet) -> Iterator[str]:
    """What to say of the number of digits in a person's own strips, where nobody has said it.

    Args:
        known: How many digits a model of the run takes each strip to hold; None if any.
        asked: Whether the person said so.
        strips: To train on.

    Raises:
        UsageError: It was said, and the counts of the strips say otherwise.
    """
    from digitsum.datasets import NAMES
    from digitsum.datasets.counts import in_words

    if strips.counts is not None:
        if known is not None and asked and (strips.counts != known).any():
            raise UsageError(
                f"--digits-per-strip {known}: the counts of these strips say "
                f"{in_words(strips.counts)}; leave it out"
            )
        yield f"{in_words(strips.counts)} per strip, as the counts of the strips say"
    elif known is not None and not asked and not {*strips.name} <= {*NAMES}:
        yield f"assuming {counted(known, 'digit')} per strip (--digits-per-strip N|any)"
