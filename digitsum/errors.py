"""Every error that digitsum raises on purpose.

    DigitsumError
    ├── DataError           strips or labels cannot be used
    ├── CheckpointError     a checkpoint cannot be used
    ├── WeightsError        pretrained weights are missing or do not fit
    ├── InstallationError   a library that digitsum needs is broken or missing
    ├── OutputError         a file cannot be written, as on a full disk
    ├── TrainingError       a run cannot continue (a loss is not finite)
    └── UsageError          the request is not valid
        ├── RecipeError     a key is unknown, or a value is not allowed
        └── OutputExistsError   an output exists already

Each carries one line: what was wrong, what was seen, what is allowed, what to do.
The command line prints that line and exits with `exit_code`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager


class DigitsumError(Exception):
    """Base of all expected failures; catch this one to catch them all."""

    exit_code = 1  # it could not be done


class DataError(DigitsumError, ValueError):
    """Strips or labels are missing, broken or of the wrong kind."""


class CheckpointError(DigitsumError, ValueError):
    """A file is not a checkpoint, is damaged, or does not fit its architecture."""


class WeightsError(DigitsumError, RuntimeError):
    """Pretrained weights are missing, or do not fit the architecture."""


class InstallationError(DigitsumError, ImportError):
    """A library that digitsum needs cannot be imported."""


class OutputError(DigitsumError, OSError):
    """A file cannot be written; what was there before is untouched."""


class TrainingError(DigitsumError, ArithmeticError):
    """Training cannot continue; the best checkpoint so far is untouched."""


class UsageError(DigitsumError, ValueError):
    """The request itself is not valid."""

    exit_code = 2  # wrong usage


class RecipeError(UsageError):
    """A recipe has an unknown key or a value that is not allowed."""


class OutputExistsError(UsageError, FileExistsError):
    """An output exists and `--overwrite` was not given."""


class DataWarning(UserWarning):
    """Strips can be read, but hardly as they are meant; the message says what was seen."""


# what NumPy, torch, its allocators, oneDNN, CUDA, the loader and the threads of Python and C++ say
_OUT_OF_MEMORY = re.compile(
    r"(?:out of|not enough|(?:can't|cannot|could not|unable to) (?:allocate|create a|mmap)) *memory"
    r"|could not create a primitive$"
    r"|DefaultCPUAllocator|bad_alloc|ALLOC_FAILED|failed to map segment|array is too big"
    r"|invalid buffer size|storage size calculation overflowed|maximum allowed dimension exceeded"
    r"|can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory, or what threads need of it, ran out, here or in what led to the error.

    Only NumPy and Python have an exception for it. torch on a CPU raises RuntimeError.
    """
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(error, DigitsumError) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def prefixed(name: str) -> Iterator[None]:
    """Puts `name: ` before the message of an error raised inside, once; its kind stays."""
    try:
        yield
    except DigitsumError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error
