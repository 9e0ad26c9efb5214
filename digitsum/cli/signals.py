"""Ctrl-C and SIGTERM as exceptions, so that files are closed and a line is said before the exit."""

from __future__ import annotations

import signal
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived."""


def _stop(signum: int, frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated


def install() -> None:
    """Makes SIGTERM raise `Terminated` from here on, and a second Ctrl-C end at once."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _stop)


def ignore() -> None:
    """Lets a command that is done end as it said, though signals arrive while Python ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
