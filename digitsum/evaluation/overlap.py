"""Which strips a run has seen, and whether the strips at hand are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitsum.checkpoint import Checkpoint
from digitsum.datasets import DataOptions
from digitsum.datasets.strips import StripSet, strip_hashes
from digitsum.errors import DataError, UsageError


@dataclass(frozen=True)
class TrainingOverlap:
    """How many of some strips a run was trained on, and used for checkpoint selection."""

    trained_on: int = 0
    selected_on: int = 0

    def __add__(self, other: TrainingOverlap) -> TrainingOverlap:
        return TrainingOverlap(
            self.trained_on + other.trained_on, self.selected_on + other.selected_on
        )

    def warnings(self, model: str) -> list[str]:
        """What to say where a model is shown on strips that its run has seen."""
        said = []
        if self.trained_on:
            said.append(f"warning: {model} was trained on {self.trained_on:,} of these strips")
        if self.selected_on:
            were = "was" if self.selected_on == 1 else "were"
            said.append(
                f"warning: {self.selected_on:,} of these strips {were} used for checkpoint "
                f"selection of {model}"
            )
        return said


def is_own(checkpoint: Checkpoint, data: StripSet) -> bool:
    """Whether these are the strips that the checkpoint's run used, wherever they lie."""
    return bool(data.fingerprint == checkpoint.data["fingerprint"])


def split_rows_of(checkpoint: Checkpoint, data: StripSet) -> dict[str, NDArray[np.int64]]:
    """Ascending row numbers: `train` and `val` of the run's own strips, `data` of others.

    A reader that was adapted to a few strips has none to validate on: then `val` is empty.
    """
    if is_own(checkpoint, data):
        return {split: np.sort(checkpoint.split[split].numpy()) for split in ("train", "val")}
    return {"data": np.arange(len(data))}


def overlap_of_strips(checkpoint: Checkpoint, strips: NDArray[np.uint8]) -> TrainingOverlap:
    """How many of these strips are, pixel for pixel, strips of the checkpoint's run.

    Args:
        checkpoint: It may keep no hashes of its strips; then none is known.
        strips: (N, 40, W) uint8.
    """
    hashes, split = strip_hashes(strips), checkpoint.split
    trained_on, selected_on = (
        int(np.isin(hashes, split[name].numpy()).sum()) if name in split else 0
        for name in ("trained_on", "selected_on")
    )
    # the last weights of a run were not selected by anything
    return TrainingOverlap(trained_on, 0 if checkpoint.resumable else selected_on)


def overlap_of_rows(
    checkpoint: Checkpoint, data: StripSet, rows: NDArray[np.int64]
) -> TrainingOverlap:
    """The same for the strips of these ascending rows of a set."""
    if is_own(checkpoint, data):
        splits = split_rows_of(checkpoint, data)
        train, val = (int(np.isin(rows, splits[split]).sum()) for split in ("train", "val"))
        return TrainingOverlap(train, 0 if checkpoint.resumable else val)
    counted = (overlap_of_strips(checkpoint, chunk) for chunk in data.chunks(rows))
    return sum(counted, TrainingOverlap())


def given_or_own(given: DataOptions, runs: Sequence[tuple[str, Checkpoint]]) -> StripSet:
    """The strips that were named; if none were, those that all these runs used and validated on.

    Args:
        given: What the person said.
        runs: Names, for messages, and checkpoints; one or more.

    Raises:
        UsageError: None were named, and the runs used different strips or splits.
        DataError: The strips are missing or broken, or the run's own have changed.
    """
    if given.sources:
        return given.open()
    check_same_validation(runs)
    _, checkpoint = runs[0]
    name = checkpoint.data["name"]
    try:
        data = given.open(fallback=name)
    except DataError as error:
        raise DataError(f"the run's own strips cannot be opened; give --data: {error}") from error
    if not is_own(checkpoint, data):
        raise DataError(
            f"{' '.join(name)} is not what the run was trained on any more (its fingerprint "
            "differs): restore it, or name other strips with --data"
        )
    return data


def check_same_validation(runs: Sequence[tuple[str, Checkpoint]]) -> None:
    """Refuses runs that used different strips, or validated on different ones.

    Raises:
        UsageError: They did.
    """
    name, first = runs[0]
    for other_name, other in runs[1:]:
        if other.data["fingerprint"] != first.data["fingerprint"]:
            raise UsageError(
                f"{name} and {other_name} were trained on different strips "
                f"({' '.join(first.data['name'])}; {' '.join(other.data['name'])}): name strips "
                "to compare them on with --data"
            )
        if not np.array_equal(np.sort(first.split["val"]), np.sort(other.split["val"])):
            raise UsageError(
                f"{name} and {other_name} validated on different strips: name strips to compare "
                "them on with --data"
            )
