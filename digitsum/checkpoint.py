"""Checkpoints: one `.pt` file with all that is needed to use, explain and repeat a run.

On disk a plain dict of tensors, text, numbers, lists and dicts, so that it loads with
`weights_only=True`, always.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from digitsum.display import counted
from digitsum.errors import CheckpointError, OutputError, OutputExistsError
from digitsum.file_kinds import CHECKPOINT, recognized
from digitsum.files import uninterrupted, whole_file
from digitsum.torch_files import is_dense, load_tensors

FORMAT = 2
RESUMES_FROM = 2  # the oldest format whose optimizer state fits this digitsum

Fits = Callable[[Any], bool]  # whether a value is of the kind that it should be


@dataclass(kw_only=True)
class Checkpoint:
    """What a checkpoint holds. The last five are in a `.last.pt` alone, for resuming."""

    format: int = FORMAT
    arch: str
    recipe: dict[str, Any]  # resolved, as Recipe.to_dict gives it
    weights: dict[str, Tensor]
    data: dict[str, Any]  # name (as typed), count, width in pixels, fingerprint
    split: dict[str, Any]  # seed; rows of train and val (int32); hashes of their strips
    history: list[dict[str, Any]]  # one record for each epoch
    metrics: dict[str, Any]  # epoch of these weights, train and val metrics
    versions: dict[str, str]
    optimizer: list[dict[str, Any]] = field(default_factory=list)  # one for each optimizer
    schedule: list[dict[str, Any]] = field(default_factory=list)
    random: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # by process
    best: dict[str, Any] = field(default_factory=dict)  # epoch, val_loss
    unaveraged: dict[str, Tensor] = field(default_factory=dict)  # if `weights` are an average

    def __repr__(self) -> str:
        size = counted(_trained(self), "parameter")
        more = ", resumable" if self.resumable else ""
        return f"Checkpoint({self.arch}: epoch {self.metrics.get('epoch')}, {size}{more})"

    @property
    def resumable(self) -> bool:
        """Whether it holds the state that training resumes from."""
        return bool(self.optimizer)


def without_state(checkpoint: Checkpoint) -> Checkpoint:
    """The same without what is for resuming."""
    plain = {f.name: getattr(checkpoint, f.name) for f in fields(Checkpoint)}
    return Checkpoint(**{key: plain[key] for key in plain if key not in _RESUME_KEYS})


def save_checkpoint(checkpoint: Checkpoint, path: Path, overwrite: bool = True) -> None:
    """Writes a checkpoint whole or not at all.

    Args:
        checkpoint: What to write.
        path: The file.
        overwrite: Whether a file that has appeared meanwhile is replaced.

    Raises:
        TypeError: It holds something that `load_checkpoint` would refuse, such as a NumPy scalar.
        CheckpointError: The file cannot be written; what was there before is untouched.
        OutputExistsError: The file is there by now, and `overwrite` is False.
    """
    content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    if not checkpoint.resumable:
        for key in _RESUME_KEYS:
            del content[key]
    _check_plain(content)
    try:
        # an exception that comes out of torch's writer on the way could end the process
        with uninterrupted(), whole_file(path, overwrite, silent=True) as stream:
            torch.save(content, stream)
    except OutputExistsError:
        raise
    except OutputError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(f"cannot write {path}: {reason}") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint. Nothing in the file is ever executed.

    Raises:
        CheckpointError: The file is missing, damaged, no checkpoint, or of a later format.
    """
    try:
        content = load_tensors(path)
    except CheckpointError:
        raise
    except Exception as error:
        if kind := recognized(path, CHECKPOINT):
            raise CheckpointError(f"{path} is {kind}") from error
        if isinstance(error, UnpicklingError):
            reason = str(error).partition("\n")[0]
            raise CheckpointError(
                f"{path} is no digitsum checkpoint: it holds more than tensors and plain values "
                f"({reason:.80}), which digitsum never loads; train one with `digitsum train`"
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or of "
            "another kind; copy it again, or train one with `digitsum train`"
        ) from error
    return _checked(content, path)


def _checked(content: Any, path: Path) -> Checkpoint:
    """The dict of a file as a Checkpoint, its keys and their types compared."""
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise CheckpointError(f"{path} is no digitsum checkpoint: it has no format number")
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {content['format']}, this digitsum reads up to {FORMAT}: "
            "install a newer digitsum"
        )
    if content["format"] < RESUMES_FROM:  # one optimizer and one schedule, not yet in lists
        for key in ("optimizer", "schedule"):
            content[key] = [content[key]] if content.get(key) else []
    for key, fits in _CONTENTS.items():
        holder, _, inner = key.partition(".")
        value = content.get(holder)
        if inner and isinstance(value, dict):
            value = value.get(inner)
        if not fits(value):
            raise CheckpointError(f"{path} is no digitsum checkpoint: '{key}' is missing or wrong")
    if content["recipe"].get("arch") != content["arch"]:
        raise CheckpointError(f"{path} is of '{content['arch']}' and its recipe is of another")
    for split in ("train", "val"):
        rows, count = content["split"][split], content["data"]["count"]
        if not bool(((rows >= 0) & (rows < count)).all()):
            raise CheckpointError(f"{path}: split.{split} holds rows outside 0..{count - 1}")
    known = {f.name for f in fields(Checkpoint)}
    given = {key: content[key] for key in known if content.get(key) is not None}
    checkpoint = Checkpoint(**given)
    for name, tensor in (*checkpoint.weights.items(), *checkpoint.unaveraged.items()):
        if not is_dense(tensor) or not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: weight '{name}' is not a tensor of finite numbers")
    return checkpoint


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _number(value: object) -> bool:
    """A number that is finite as a float; of a huge whole one `math.isfinite` raises."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _rows(value: object) -> bool:
    """A tensor of whole numbers, (N,)."""
    return (
        isinstance(value, Tensor)
        and is_dense(value)
        and value.ndim == 1
        and not (value.is_floating_point() or value.dtype == torch.bool)
    )


def _plain(value: object) -> bool:
    """What a recipe or an option may be; there is nothing deep in a file that was loaded."""
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_text, value)) and all(map(_plain, value.values()))
    return type(value) in (str, int, float, bool, type(None))


def _list_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _dict_of(fits: Fits) -> Fits:
    return lambda value: (
        isinstance(value, dict) and all(map(_text, value)) and all(map(fits, value.values()))
    )


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _random(value: object) -> bool:
    """Tensors by the name of a device, by the number of a process."""
    states = _dict_of(lambda state: isinstance(state, Tensor))
    return isinstance(value, dict) and all(map(_whole, value)) and all(map(states, value.values()))


# what a checkpoint holds, holders before what they hold; what may be missing is None
_CONTENTS: dict[str, Fits] = {
    "arch": _text,
    "recipe": _dict_of(_plain),
    "weights": _dict_of(lambda value: True),  # looked at one by one, to name the one that is wrong
    "data": lambda value: isinstance(value, dict),
    "data.name": _list_of(_text),
    "data.count": _whole,
    "data.width": _whole,
    "data.fingerprint": _text,
    "split": lambda value: isinstance(value, dict),
    "split.seed": _whole,
    "split.train": _rows,
    "split.val": _rows,
    "split.trained_on": _or_none(_rows),
    "split.selected_on": _or_none(_rows),
    "history": _list_of(_dict_of(_number)),
    "metrics": lambda value: isinstance(value, dict),
    "metrics.epoch": _whole,
    "metrics.train": _or_none(_dict_of(_number)),
    "metrics.val": _or_none(_dict_of(_number)),
    "versions": _dict_of(_text),
    "optimizer": _or_none(_list_of(lambda value: isinstance(value, dict))),
    "schedule": _or_none(_list_of(lambda value: isinstance(value, dict))),
    "random": _or_none(_random),
    "best": _or_none(_dict_of(_number)),
    "unaveraged": _or_none(_dict_of(lambda value: True)),
}
_RESUME_KEYS = ("optimizer", "schedule", "random", "best", "unaveraged")


def _check_plain(value: object, where: str = "checkpoint") -> None:
    """Refuses what does not load with `weights_only=True`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(key, where)
            _check_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_plain(inner, where)
    elif type(value) not in (str, int, float, bool, type(None)) and not isinstance(value, Tensor):
        raise TypeError(f"{where} holds {type(value)}: only tensors and plain values are stored")


def card(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint is, in plain values: its origin, how it was made, and its metrics.

    Args:
        name: As it was given.
        checkpoint: From `load_checkpoint`.
    """
    return {
        "model": name,
        "arch": checkpoint.arch,
        "parameters": _trained(checkpoint),
        "epoch": checkpoint.metrics["epoch"],
        "epochs_done": len(checkpoint.history),
        "resumable": checkpoint.resumable,
        "data": {
            **{key: checkpoint.data[key] for key in ("name", "count", "width", "fingerprint")},
            "train": len(checkpoint.split["train"]),
            "val": len(checkpoint.split["val"]),
        },
        "metrics": {split: checkpoint.metrics[split] for split in ("train", "val")
                    if split in checkpoint.metrics},
        "recipe": checkpoint.recipe,
        "versions": checkpoint.versions,
    }  # fmt: skip


def _trained(checkpoint: Checkpoint) -> int:
    """Number of trained weights: all but the running statistics of batch norm."""
    kept = (".running_mean", ".running_var", ".num_batches_tracked")
    return sum(w.numel() for name, w in checkpoint.weights.items() if not name.endswith(kept))
