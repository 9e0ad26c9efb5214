"""Files that digitsum writes: none is overwritten unasked, none is left half-written."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from digitsum.checkpoint_paths import is_checkpoint, last_path
from digitsum.errors import DigitsumError, OutputError, OutputExistsError, UsageError
from digitsum.signals import HELD
from digitsum.temporary_files import (
    TemporaryFile,
    copy_permissions,
    hidden,
    place,
    remove_dead,
    sync_folder,
    temporary_folder,
)

Opener = Callable[[str], AbstractContextManager[BinaryIO]]

SET = "set"  # what the lock and the hidden folder of several files are named after
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # of some file systems


def check_output(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuses an output before any work is done for it.

    Args:
        path: The file that is to be written.
        overwrite: Whether it may be there already.
        inputs: What is read, and what belongs to it: never written over, through links either.
            What does not exist is none.

    Raises:
        OutputExistsError: It exists, and `overwrite` is False.
        UsageError: It is a folder, a device or an input, its folder is missing or read-only, or
            no file can have that name.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        found = None
    except OSError as error:  # a name of hundreds of letters, or a link to itself
        raise cannot_begin(path, error) from error
    if found and not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is a folder or a device: give the name of a file to write")
    folder = _target(path).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: create the folder {folder} first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: you may not write into {folder}")
    if found and not overwrite:
        raise OutputExistsError(f"{path} exists: choose another name, or give --overwrite")
    if found and (given := next((i for i in inputs if _is_file(i, found)), None)):
        known = "" if given == path else f" as {given}"
        raise UsageError(
            f"cannot write {path}: it belongs to what the command reads{known}; choose another name"
        )


def _target(path: Path) -> Path:
    """Where a file lies that is written through a link: the link keeps its place."""
    return Path(os.path.realpath(path))


def _is_file(path: Path, found: os.stat_result) -> bool:
    """Whether a path leads to the file that was found, by whatever links."""
    try:
        return os.path.samestat(path.stat(), found)
    except (OSError, ValueError):  # a name with a zero byte, from a file
        return False


@contextmanager
def reserved_output(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> Iterator[None]:
    """Checks an output and keeps other runs from writing it, from before the work to its end.

    Raises:
        UsageError: See `check_output` and `run_lock`.
    """
    inputs = list(inputs)
    check_output(path, overwrite, inputs)
    with run_lock(path):
        check_output(path, overwrite, inputs)  # again: another run may have written it since
        yield


def check_checkpoint_paths(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuses the two checkpoints of a run before it begins; see `check_output`.

    Raises:
        UsageError: The name does not end in .pt, or is that of a checkpoint to resume from.
    """
    if not is_checkpoint(path) or path.stem.lower().endswith(".last"):
        raise UsageError(f"--out {path}: name a checkpoint ….pt; ….last.pt is written beside it")
    inputs = list(inputs)
    for output in (path, last_path(path)):
        check_output(output, overwrite, inputs)


@contextmanager
def whole_file(
    path: Path, overwrite: bool = True, silent: bool = False, name: Path | None = None
) -> Iterator[BinaryIO]:
    """A stream into a temporary file beside `path`, flushed and renamed into place at the end.

    A reader sees the old file or the new one, never half of one; on any exception the old one is
    as it was. A link keeps its place, and a file that is replaced its permissions.

    Args:
        path: The file.
        overwrite: Whether a file that has appeared meanwhile is replaced.
        silent: Whether writes that fail raise nothing before the end of the block; for libraries
            that answer an exception with worse.
        name: What errors call the file, if not `path`.

    Raises:
        OutputError: Something could not be written, whatever the block made of that.
        OutputExistsError: The file is there by now, and `overwrite` is False.
    """
    target, name = _target(path), name or path
    with _failures(name):
        stream = TemporaryFile(target, silent)
    try:
        yield cast(BinaryIO, stream)
        with _failures(name):
            stream.finish()
            place(stream.path, target, overwrite)
            sync_folder(target.parent)
    except Exception as error:
        if stream.failure and not isinstance(error, OutputError):
            raise _unwritable(name, stream.failure) from error
        raise
    finally:
        stream.discard()


@contextmanager
def whole_files(
    folder: Path, names: Sequence[str], overwrite: bool = True, many: bool = False
) -> Iterator[Opener]:
    """Several files of a folder that are replaced together; gives what opens each, by its name.

    They are written into a hidden folder. When all are whole, the old ones leave, the last of
    `names` first, and the new ones come, the last of `names` last. So a process that is killed
    meanwhile leaves a folder without the last ones: whoever opens it sees that something is wrong.
    On any exception everything is as it was.

    Args:
        folder: An existing folder.
        names: All files that are written.
        overwrite: Whether old ones are replaced.
        many: Whether the disk is waited for once, when all are written, and not for each: for
            thousands of small ones, which would take minutes.

    Raises:
        OutputError: Something could not be written.
        OutputExistsError: One is there, and `overwrite` is False.
    """
    with _failures(folder), temporary_folder(folder / SET) as staging:
        if many:
            yield lambda name: _unsynced(staging / name, folder / name)
            if hasattr(os, "sync"):
                os.sync()
        else:
            yield lambda name: whole_file(staging / name, silent=True, name=folder / name)
        with uninterrupted():
            _exchange(staging, folder, names, overwrite)


@contextmanager
def _unsynced(path: Path, name: Path) -> Iterator[BinaryIO]:
    with _failures(name), open(path, "wb") as stream:
        yield stream


def _exchange(staging: Path, folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Old files out, new ones in; if that fails, all the way back."""
    aside = staging / "old"
    aside.mkdir()
    with ExitStack() as back:
        for name in reversed(names) if overwrite else ():
            target = _target(folder / name)
            if target.exists():
                copy_permissions(target, staging / name)
                target.rename(aside / name)
                back.callback((aside / name).rename, target)
        sync_folder(folder)
        for name in names:
            target = _target(folder / name)
            with _failures(folder / name):
                place(staging / name, target, overwrite=False)
            back.callback(target.unlink)
        sync_folder(folder)
        back.pop_all()


@contextmanager
def _failures(name: Path) -> Iterator[None]:
    """What the system says becomes one kind of error, which names the file."""
    try:
        yield
    except DigitsumError:
        raise
    except FileExistsError as error:
        raise OutputExistsError(
            f"{name} exists by now: another run has written it; choose another name, or give "
            "--overwrite"
        ) from error
    except OSError as error:
        raise _unwritable(name, error) from error


def cannot_begin(name: Path | str, error: OSError) -> DigitsumError:
    """The error where nothing was written yet: what was asked for is wrong, or the disk is."""
    if error.errno in (*FULL, errno.EIO):
        return _unwritable(name, error)
    return UsageError(f"cannot write {name}: {error.strerror}")


def _unwritable(name: Path | str, error: OSError) -> OutputError:
    more = "free some, or " if error.errno in FULL else ""
    return OutputError(f"cannot write {name}: {error.strerror or error}; {more}write elsewhere")


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
        for number in HELD
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
def run_lock(path: Path, name: Path | None = None) -> Iterator[None]:
    """Keeps other runs from writing an output of this one, for as long as it lasts.

    The operating system's lock ends with the process, however that ends. Temporary files that
    killed runs of this name have left behind are removed.

    Args:
        path: The output; of two checkpoints the best one.
        name: What errors call it, if not `path`.

    Raises:
        UsageError: Another run holds the lock, or nothing can be written there.
        OutputError: The disk is full, or fails.
    """
    from filelock import FileLock, Timeout  # not at the top: it would slow --help down

    path, name = _target(path), name or path
    lock = FileLock(hidden(path, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another run is writing {name}: choose another name, or wait until it has ended"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise cannot_begin(name, error) from error
    try:
        remove_dead(path, last_path(path))
        yield
    finally:
        with suppress(OSError):  # while it is held; Windows keeps a file that is open
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
