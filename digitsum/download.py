"""Asks whether a server answers, before a library starts a download that could hang."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.client import HTTPException

SECONDS = 4.0  # longer than a slow answer; a command without network ends within 15 s


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
