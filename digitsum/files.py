"""Files that digitsum writes: none is overwritten unasked, none is left half-written."""

from __future__ import annotations

import glob
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from digitsum.errors import OutputExistsError, UsageError

# Ctrl-C, the polite kill, and a terminal that is closed, which Windows does not tell
STOPPING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if name in signal.Signals.__members__
)


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


def is_checkpoint(path: Path) -> bool:
    """Whether the name ends in .pt, in any case."""
    return path.suffix.lower() == ".pt"


def is_last(path: Path) -> bool:
    """Whether the name is that of a checkpoint to resume from, `….last.pt`."""
    return is_checkpoint(path) and path.stem.endswith(".last")


def best_path(last: Path) -> Path:
    """`cnn.pt` for `cnn.last.pt`: the inverse of `last_path`."""
    return last.with_name(last.stem.removesuffix(".last") + last.suffix)


def last_path(path: Path) -> Path:
    """`cnn.last.pt` for `cnn.pt`: the checkpoint that a run resumes from."""
    return path.with_name(f"{path.stem}.last{path.suffix}")


def check_checkpoint_paths(path: Path, overwrite: bool) -> None:
    """Refuses the two checkpoints of a run before it begins; see `check_output`.

    Raises:
        UsageError: The name does not end in .pt, or is that of a checkpoint to resume from.
    """
    if not is_checkpoint(path) or path.stem.lower().endswith(".last"):
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds the signals that stop a run back until the block is done.

    Only the main thread gets any.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: arrived.append(number))
        for number in STOPPING
        if signal.getsignal(number) not in (signal.SIG_IGN, None)  # None: Python does not handle it
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Keeps a second run from writing the checkpoints of this one, for as long as it lasts.

    The operating system's lock ends with the process, however that ends. Temporary files that
    killed runs of this name have left behind are removed.

    Raises:
        UsageError: Another run holds the lock, or nothing can be written there.
    """
    from filelock import FileLock, Timeout  # not at the top: it would slow --help down

    name = path
    path = path.resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another run is writing {name}: give another --out, or wait until it has ended"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from error
    try:
        for output in (path, last_path(path)):
            for half in path.parent.glob(f".{glob.escape(output.name)}.*.tmp"):
                half.unlink(missing_ok=True)
        yield
    finally:
        with suppress(OSError):  # while it is held; Windows keeps a file that is open
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
