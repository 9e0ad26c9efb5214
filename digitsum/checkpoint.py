"""Checkpoints: one `.pt` file with all that is needed to use, explain and repeat a run.

On disk a plain dict of tensors, text, numbers, lists and dicts, so that it loads with
`weights_only=True`, always.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from digitsum.ambient import default_settings
from digitsum.display import counted
from digitsum.errors import CheckpointError
from digitsum.file_kinds import CHECKPOINT, obstacle, recognized
from digitsum.files import uninterrupted, whole_file

FORMAT = 2
RESUMES_FROM = 2  # the oldest format whose optimizer state fits this digitsum
BUNDLED = ("reader",)  # names of the weights that come with the package


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


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint whole or not at all.

    Raises:
        TypeError: It holds something that `load_checkpoint` would refuse, such as a NumPy scalar.
        CheckpointError: The file cannot be written; what was there before is untouched.
    """
    content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    if not checkpoint.resumable:
        for key in _RESUME_KEYS:
            del content[key]
    _check_plain(content)
    try:
        # an exception that comes out of torch's writer on the way could end the process
        with uninterrupted(), whole_file(path) as stream:
            torch.save(content, stream)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        reason = getattr(cause, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(f"cannot write {path}: {reason}") from error


def locate_checkpoint(name: Path | str) -> Path:
    """The file of a checkpoint; `reader` names the bundled one, unless a file has that name."""
    if str(name) in BUNDLED and not Path(name).exists():
        return bundled_path(str(name))
    return Path(name)


def bundled_path(name: str) -> Path:
    """Where the bundled weights of that name lie."""
    return Path(str(resources.files("digitsum") / "weights" / f"{name}.pt"))


@default_settings()
def load_tensors(path: Path) -> Any:
    """What a file of torch's holds, if that is tensors and plain values; nothing is executed.

    What comes out takes no more memory than the file has bytes.

    Raises:
        UnpicklingError: It holds more.
        CheckpointError: It is no file, or claims to hold more than its size.
        Exception: It is damaged; torch raises many kinds, none documented.
    """
    if reason := obstacle(path):
        raise CheckpointError(f"{path} {reason}: give the path of a checkpoint")
    with open(path, "rb") as stream:  # once: what is checked is what is loaded
        size = os.fstat(stream.fileno()).st_size
        if zipfile.is_zipfile(stream):  # torch stores, but unpacks what others have compressed
            with zipfile.ZipFile(stream) as archive:
                _check_size(path, sum(entry.file_size for entry in archive.infolist()), size)
        stream.seek(0)
        content = torch.load(stream, map_location="cpu", weights_only=True)
    _check_size(path, _bytes_held(content), size)
    return content


def _check_size(path: Path, held: int, size: int) -> None:
    if held > size:
        raise CheckpointError(
            f"{path} claims to hold {held:,} bytes in a file of {size:,}: it is damaged or forged"
        )


def _bytes_held(content: Any) -> int:
    """Bytes of all tensors if each had its own; those of one storage seen twice as one."""
    sizes: dict[tuple[int, int], int] = {}
    left, seen = [content], {id(content)}
    while left:  # neither deep nesting nor what holds itself a thousand times over does harm
        value = left.pop()
        inner: list[Any] = []
        if isinstance(value, Tensor):
            if _is_dense(value):
                stored = value.untyped_storage()
                needed = value.numel() * value.element_size()  # an expanded one needs more
                key = (stored.data_ptr(), stored.nbytes())
                sizes[key] = max(sizes.get(key, 0), stored.nbytes(), needed)
        elif isinstance(value, dict):
            inner = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            inner = list(value)
        elif type(value) not in (str, int, float, bool, type(None)):
            raise UnpicklingError(f"it holds {type(value)}")
        new = [one for one in inner if id(one) not in seen]
        seen.update(map(id, new))
        left.extend(new)
    return sum(sizes.values())


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
            raise CheckpointError(
                f"{path} is no digitsum checkpoint: it holds more than tensors and plain values, "
                "which digitsum never loads; train one with `digitsum train`"
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
    for key, kind in _KINDS.items():
        holder, _, inner = key.partition(".")
        value = content.get(holder, kind() if holder in _RESUME_KEYS else None)
        if inner and isinstance(value, dict):
            value = value.get(inner)
        if not isinstance(value, kind):
            raise CheckpointError(f"{path} is no digitsum checkpoint: '{key}' is missing or wrong")
    if content["recipe"].get("arch") != content["arch"]:
        raise CheckpointError(f"{path} is of '{content['arch']}' and its recipe is of another")
    for split in ("train", "val"):
        rows, count = content["split"][split], content["data"]["count"]
        if rows.dtype.is_floating_point or not bool(((rows >= 0) & (rows < count)).all()):
            raise CheckpointError(f"{path}: split.{split} holds rows outside 0..{count - 1}")
    known = {f.name for f in fields(Checkpoint)}
    checkpoint = Checkpoint(**{key: content[key] for key in content if key in known})
    for name, tensor in checkpoint.weights.items():
        if not _is_dense(tensor) or not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: weight '{name}' is not a tensor of finite numbers")
    return checkpoint


# what a checkpoint holds at the least, holders before what they hold
_KINDS: dict[str, type] = {
    "arch": str,
    "recipe": dict,
    "weights": dict,
    "data": dict,
    "data.name": list,
    "data.count": int,
    "data.width": int,
    "data.fingerprint": str,
    "split": dict,
    "split.train": Tensor,
    "split.val": Tensor,
    "history": list,
    "metrics": dict,
    "metrics.epoch": int,
    "versions": dict,
    "optimizer": list,
    "schedule": list,
    "random": dict,
    "best": dict,
    "unaveraged": dict,
}
_RESUME_KEYS = ("optimizer", "schedule", "random", "best", "unaveraged")


def _is_dense(value: object) -> bool:
    """Whether it is a tensor with all its numbers, which meta and sparse ones have not."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


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
            **checkpoint.data,
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
