"""Every error that digitsum raises on purpose.

    DigitsumError
    ├── DataError           strips or labels cannot be used
    ├── CheckpointError     a checkpoint cannot be used
    ├── WeightsError        pretrained weights are missing or do not fit
    ├── InstallationError   a library that digitsum needs is broken or missing
    ├── TrainingError       a run cannot continue (a loss is not finite)
    └── UsageError          the request is not valid
        ├── RecipeError     a key is unknown, or a value is not allowed
        └── OutputExistsError   an output exists already

Each carries one line: what was wrong, what was seen, what is allowed, what to do.
The command line prints that line and exits with `exit_code`.
"""

from __future__ import annotations

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


@contextmanager
def prefixed(name: str) -> Iterator[None]:
    """Puts `name: ` before the message of an error raised inside; its kind stays."""
    try:
        yield
    except DigitsumError as error:
        raise type(error)(f"{name}: {error}") from error
