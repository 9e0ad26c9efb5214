"""Signals that stop a command, as exceptions: files are closed and a line is said before it."""

from __future__ import annotations

import signal
from types import FrameType

from digitsum.files import STOPPING


class Terminated(BaseException):
    """SIGTERM arrived, or SIGHUP: the terminal was closed."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def _stop(signum: int, frame: FrameType | None) -> None:
    if signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    else:
        signal.signal(signum, signal.SIG_IGN)  # a shell passes on the hang-up that came here too
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)


def install() -> None:
    """Makes the signals raise from here on, unless they are ignored, as under nohup."""
    for number in STOPPING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)


def ignore() -> None:
    """Lets a command that is done end as it said, though signals arrive while Python ends."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
