"""torchvision and its downloads.

torchvision is imported only where a ResNet or MNIST is asked for, as it takes seconds. Before it
starts a download that could hang, the server is asked whether it answers.
"""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from importlib import import_module
from types import ModuleType

from digitsum.errors import InstallationError

SECONDS = 4.0  # longer than a slow answer; a command without network ends within 15 s

_DOWNLOADING = threading.RLock()  # sys.stdout is there once for a process


@contextmanager
def announced_on_stderr() -> Iterator[None]:
    """Downloads are announced by `print`, and stdout is for results."""
    with _DOWNLOADING, redirect_stdout(sys.stderr):
        yield


def torchvision(part: str) -> ModuleType:
    """`torchvision.PART`.

    Raises:
        InstallationError: It cannot be imported, mostly because it and torch come from different
            builds (`operator torchvision::nms does not exist`).
    """
    try:
        return import_module(f"torchvision.{part}")
    except (ImportError, RuntimeError) as error:
        raise InstallationError(
            f"torchvision cannot be imported ({str(error).splitlines()[0]}): torch and torchvision "
            "must come from the same build; install both with one pip command, from one index"
        ) from error


def unreachable(url: str) -> str | None:
    """Why `url` cannot be reached, in a few words; None if its server answers.

    Looking a host up can hang longer than any socket timeout allows, hence the thread.
    """
    reason = [f"no answer within {SECONDS:.0f} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=SECONDS).close()
            reason[0] = ""
        except urllib.error.HTTPError:
            reason[0] = ""  # a server that refuses is a server that answers
        except (OSError, ValueError, HTTPException) as error:
            reason[0] = f"no network: {getattr(error, 'reason', None) or error}"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return reason[0] or None
