"""Files that digitsum writes: nothing is written over unasked, nothing is left half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from digitsum.errors import OutputExistsError, UsageError


def check_output(path: Path, overwrite: bool) -> None:
    """Refuses an output before any work is done for it.

    Raises:
        OutputExistsError: It exists, and `overwrite` is False.
        UsageError: It is a folder or a device, or its folder is missing or read-only.
    """
    try:
        exists = path.exists()
    except OSError as error:  # a name of hundreds of letters, say
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    if exists and not path.is_file():
        raise UsageError(f"{path} is a folder or a device: give the name of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: create the folder {path.parent} first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: you may not write into {path.parent}")
    if exists and not overwrite:
        raise OutputExistsError(f"{path} exists: choose another name, or give --overwrite")


def last_path(path: Path) -> Path:
    """`cnn.last.pt` for `cnn.pt`: what a run goes on from."""
    return path.with_name(f"{path.stem}.last{path.suffix}")


def check_checkpoint_paths(path: Path, overwrite: bool) -> None:
    """Refuses the two checkpoints of a run before it begins; see `check_output`.

    Raises:
        UsageError: The name does not end in .pt, or is that of a checkpoint to go on from.
    """
    if path.suffix != ".pt" or path.stem.endswith(".last"):
        raise UsageError(f"--out {path}: name a checkpoint ….pt; ….last.pt is written beside it")
    for output in (path, last_path(path)):
        check_output(output, overwrite)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream into a temporary file beside `path`, flushed and renamed into place at the end.

    A reader sees the old file or the new one, never half of one; on any exception the
    temporary file is removed and the old one is as it was. A link keeps its place.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
