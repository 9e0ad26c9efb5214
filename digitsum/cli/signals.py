"""SIGTERM as an exception, so that files are closed and a line is said before the exit."""

from __future__ import annotations

import signal
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def install() -> None:
    """Makes SIGTERM raise `Terminated` from here on."""
    signal.signal(signal.SIGTERM, _terminate)
