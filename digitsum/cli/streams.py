"""stdin, stdout and stderr, whatever they are: closed, full, or in ASCII alone."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from digitsum.coercion import whole_number

WIDEST = 10_000  # characters that a terminal may be said to have


class _Words(io.FileIO):
    """stderr. Words that cannot be written are dropped: a full disk costs them and no result."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError:
            return len(data)


def prepare() -> None:
    """Makes the streams take whatever a command writes.

    A closed one becomes /dev/null; else the next file to be opened would take its place. Characters
    that the encoding of stdout or stderr lacks are written as escapes. COLUMNS and LINES that are
    no size of a terminal are dropped: rich takes them as they are.
    """
    for name in ("COLUMNS", "LINES"):
        if not 1 <= (whole_number(os.environ.get(name, "")) or 0) <= WIDEST:
            os.environ.pop(name, None)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None or os.name != "nt":  # a Windows console takes no bytes
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Words(2, "w", closefd=False)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
        )


def settle() -> None:
    """Lets Python end in peace where a stream cannot take what it still holds; that was told."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
