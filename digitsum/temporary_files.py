"""Files under hidden names until they are whole: created here alone, checked, and known to live.

`digitsum.files` gives them the names that were asked for.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LONG = 100  # bytes of a name that leave room for what is added to it, on any file system


def hidden(path: Path, ending: str) -> Path:
    """`.r.csv.lock` for `r.csv` and `lock`; a long name is told by its hash instead."""
    name, coded = path.name, os.fsencode(path.name)
    if len(coded) > LONG:
        import hashlib  # not at the top: names are seldom so long

        name = hashlib.sha256(coded).hexdigest()[:32]
    return path.with_name(f".{name}.{ending}")


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that nobody foresees."""
    return hidden(path, f"{os.urandom(8).hex()}.tmp")


def remove_dead(*paths: Path) -> None:
    """Removes the temporary files and folders of paths in one folder whose processes were killed.

    A process that writes one holds the operating system's lock on it.
    """
    names = "|".join(re.escape(hidden(path, "").name) for path in paths)
    temporary = re.compile(rf"(?:{names})[0-9a-f]+\.tmp")
    with suppress(OSError):  # a folder that may be written and not read
        for found in paths[0].parent.glob(".*.tmp"):
            if temporary.fullmatch(found.name):
                _remove_if_dead(found)


def _remove_if_dead(path: Path) -> None:
    for way in (os.O_RDWR, os.O_RDONLY):  # network file systems lock what can be written alone
        flags = way | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(path, flags)
        except OSError:  # a folder, say, or somebody else's
            continue
        try:
            if _lock(descriptor):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(descriptor)
        return


def _lock(descriptor: int) -> bool | None:
    """Takes the lock of a file: whether that succeeded; None where there are no locks."""
    if sys.platform == "win32":  # there, what is open cannot be removed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


class Living:
    """The lock on a temporary file or folder, by which other processes see that it is in use.

    Attributes:
        lost: Whether one of them has taken it for dead before it was locked.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.lost = _lock(descriptor) is False or not path.exists()
        # a second one, as the file is closed before it is renamed: Windows wants that
        self.descriptor = None if sys.platform == "win32" else os.dup(descriptor)

    def end(self) -> None:
        """Gives the lock back; more than once does no harm."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder under a hidden name beside `path`, for this process alone, removed at the end.

    Raises:
        OSError: It cannot be made.
    """
    folder = temporary_name(path)
    folder.mkdir(0o700)
    living = None
    try:
        if sys.platform != "win32":
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                living = Living(folder, descriptor)
            finally:
                os.close(descriptor)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if living:
            living.end()


class TemporaryFile(io.BufferedIOBase):
    """A new file under a hidden name, which remembers the first failure of all that is written.

    It is none of Python's own files, past whose `write` NumPy goes straight to the descriptor,
    and what the last flush says is lost.

    Args:
        beside: The file that it is to become.
        silent: Whether a write that fails raises nothing until `finish`: zipfile answers an
            exception with another one, and torch may end the process.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, beside: Path, silent: bool = False) -> None:
        self.path, self._stream, self._living = _created(beside)
        self.silent = silent
        self.failure: OSError | None = None
        self._size = 0  # bytes that it must have
        copy_permissions(beside, self.path)  # also what the umask took away

    def finish(self) -> None:
        """Sees that everything is on disk, as long as it must be, and closes it.

        Raises:
            OSError: Something could not be written, now or before.
        """
        self.silent = False
        if self.failure:
            raise self.failure
        with self._remembering():
            self._stream.flush()
            os.fsync(self._stream.fileno())
            size = os.fstat(self._stream.fileno()).st_size
            if size != self._size:
                raise OSError(errno.EIO, f"of {self._size:,} bytes {size:,} are there")
            self._stream.close()

    def discard(self) -> None:
        """Removes it, unless it has got another name."""
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """From here on it may be taken for dead."""
        self._living.end()

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            if not self.silent:
                raise

    def write(self, data: ReadableBuffer, /) -> int:
        if not (self.silent and self.failure):
            with self._remembering():
                self._stream.write(data)
                self._size = max(self._size, self._stream.tell())
        return memoryview(data).nbytes

    def flush(self) -> None:
        with self._remembering():
            self._stream.flush()

    def close(self) -> None:
        with self._remembering():
            self._stream.close()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with self._remembering():  # it writes what is still in memory
            return self._stream.seek(offset, whence)
        return self._stream.tell()

    def tell(self) -> int:
        return self._stream.tell()


def _created(beside: Path) -> tuple[Path, io.BufferedWriter, Living]:
    """A new file, open and marked as in use, which no more people may read than `beside`."""
    mode = _permissions(beside)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = temporary_name(beside)
        descriptor = os.open(path, flags, 0o666 if mode is None else mode)
        living = Living(path, descriptor)
        if not living.lost:
            return path, open(descriptor, "wb"), living
        living.end()
        os.close(descriptor)


def _permissions(path: Path) -> int | None:
    """The permission bits of a file; None if there is none."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return None


def copy_permissions(old: Path, new: Path) -> None:
    """Gives a file the permission bits of another, on file systems that have some."""
    if (mode := _permissions(old)) is not None:
        with suppress(OSError):
            new.chmod(mode)


def place(temporary: Path, path: Path, overwrite: bool) -> None:
    """Gives a whole file its name, in one step.

    Raises:
        FileExistsError: The name is taken, and `overwrite` is False.
        OSError: It cannot be given.
    """
    if not overwrite:
        try:
            os.link(temporary, path)  # fails where there is a file, as a rename does not
        except FileExistsError:
            raise
        except OSError as error:  # not all file systems have such links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        else:
            temporary.unlink()
            return
    os.replace(temporary, path)


def sync_folder(folder: Path) -> None:
    """Sees that the names in a folder are on disk, where the system lets one.

    Raises:
        OSError: The disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows, or a folder that may be written and not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(descriptor)
