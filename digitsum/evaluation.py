"""The metrics of a model on strips, its own run's or others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.checkpoint import Checkpoint
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet, strip_hashes
from digitsum.errors import DataError
from digitsum.inference import LoadedModel
from digitsum.metrics import Metrics, score
from digitsum.readings import Readings


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one model: `train` and `val` of its own run, or `data` for other strips."""

    model: str
    arch: str
    splits: dict[str, Metrics]
    seen: int  # of the other strips: how many are strips that the model trained on

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum eval`."""
        splits = {name: metrics.to_dict() for name, metrics in self.splits.items()}
        return {"model": self.model, "arch": self.arch, "splits": splits, "seen": self.seen}


def evaluate(model: LoadedModel, data: StripSet) -> Evaluation:
    """Reads the strips a chunk at a time and scores them by part.

    Raises:
        DataError: The strips do not suit the model.
    """
    splits = {}
    for name, rows in parts(model.checkpoint, data).items():
        readings = read_rows(model, data, rows)
        splits[name] = score(readings.value, readings.sum, data.sums[rows])
    return Evaluation(model.name, model.arch, splits, seen(model.checkpoint, data))


def read_rows(model: LoadedModel, data: StripSet, rows: NDArray[np.int64]) -> Readings:
    """Readings of the strips of these ascending rows."""
    count = model.recipe.digits_per_strip
    return Readings.concatenate([model.read(chunk, count) for chunk in data.chunks(rows)])


def is_own(checkpoint: Checkpoint, data: StripSet) -> bool:
    """Whether these are the strips that the checkpoint's run used, wherever they lie."""
    return bool(data.fingerprint == checkpoint.data["fingerprint"])


def parts(checkpoint: Checkpoint, data: StripSet) -> dict[str, NDArray[np.int64]]:
    """Ascending row numbers: `train` and `val` of the run's own strips, `data` of others."""
    if is_own(checkpoint, data):
        return {part: np.sort(checkpoint.split[part].numpy()) for part in ("train", "val")}
    return {"data": np.arange(len(data))}


def seen(checkpoint: Checkpoint, data: StripSet) -> int:
    """How many strips of other data are, pixel for pixel, strips that the run trained on.

    0 for the run's own data, whose parts are shown apart, and for checkpoints that keep no
    hashes.
    """
    known = checkpoint.split.get("seen")
    if known is None or is_own(checkpoint, data):
        return 0
    return sum(int(np.isin(strip_hashes(chunk), known.numpy()).sum()) for chunk in data.chunks())


def run_data(
    checkpoint: Checkpoint, labels: Path | None = None, mnist_root: Path | None = None
) -> StripSet:
    """The strips that the checkpoint's run used, found by the name that was typed then.

    Raises:
        DataError: They are not there, or are not the same any more.
    """
    name = checkpoint.data["name"]
    try:
        data = open_data(name, labels, mnist_root)
    except DataError as error:
        raise DataError(f"the run's own strips cannot be opened; give --data: {error}") from error
    if not is_own(checkpoint, data):
        raise DataError(
            f"{' '.join(name)} is not what the run was trained on any more (its fingerprint "
            "differs): restore it, or name other strips with --data"
        )
    return data
