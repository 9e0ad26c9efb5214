"""Signals that stop a command: at once while it starts, later as exceptions, so that it tidies up.

The entry point comes here before anything else is imported, so this module loads next to nothing.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# Ctrl-C, the polite kill, and a terminal that is closed, which Windows does not tell
STOPPING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if name in signal.Signals.__members__
)
AGAIN = 0.002  # seconds until a signal that could not be raised where it arrived is tried again
CAN_WAIT = hasattr(signal, "setitimer")  # not on Windows
_waiting: list[int] = []  # signals that are tried again
HELD = (*STOPPING, signal.SIGALRM) if CAN_WAIT else STOPPING  # what may raise in a command


class Terminated(BaseException):
    """SIGTERM arrived, or SIGHUP: the terminal was closed."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def exit_at_once() -> None:
    """Lets the signals end the process from here on, unless they are ignored, as under nohup.

    Nothing is open yet that one must close, and an exception in the middle of an import is whatever
    the module makes of it.
    """
    _replace(signal.SIG_DFL, _exit)
    _replace(signal.default_int_handler, _exit)


def raise_from_now() -> None:
    """Makes the signals raise, those that `exit_at_once` took care of."""
    if _replace(_exit, _stop):
        sys.unraisablehook = _unraisable


def install() -> None:
    """Makes the signals raise from here on, unless they are ignored."""
    exit_at_once()
    raise_from_now()


def ignore() -> None:
    """Lets a command that is done end as it said, though signals arrive while Python ends."""
    for number in HELD:
        signal.signal(number, signal.SIG_IGN)


def restore() -> None:
    """Lets any further signal end a process that was stopped, however long Python takes to end."""
    _replace(_stop, signal.SIG_DFL)


def _replace(old: Any, new: Any) -> bool:
    """Whether a signal had the old handler; it has the new one."""
    found = [number for number in STOPPING if signal.getsignal(number) == old]
    for number in found:
        signal.signal(number, new)
    return bool(found)


def _exit(signum: int, frame: FrameType | None) -> None:
    os._exit(128 + signum)


def _stop(signum: int, frame: FrameType | None) -> None:
    if signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    else:
        signal.signal(signum, signal.SIG_IGN)  # a shell passes on the hang-up that came here too
    _raise(signum, frame)


def _raise(signum: int, frame: FrameType | None) -> None:
    if CAN_WAIT and _importing(frame):
        _again(signum)
    else:
        if _waiting:
            _waiting.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)


def raise_waiting(signum: int = 0, frame: FrameType | None = None) -> None:
    """Raises the signal that waits for the end of an import, if one does."""
    if _waiting:
        _raise(_waiting[-1], frame)


def _again(signum: int) -> None:
    """Raises a little later."""
    _waiting[:] = [signum]
    signal.signal(signal.SIGALRM, raise_waiting)
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: it may turn the exception into another, or swallow it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: Any) -> None:
    """Python drops what is raised in `__del__`; a signal that came there is not lost."""
    error = unraisable.exc_value
    if CAN_WAIT and isinstance(error, KeyboardInterrupt | Terminated):
        _again(signal.SIGINT if isinstance(error, KeyboardInterrupt) else error.args[0])
    else:
        sys.__unraisablehook__(unraisable)
