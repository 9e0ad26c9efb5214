"""Freed memory is kept for the next batch."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed() -> None:
    """Stops glibc from handing large blocks back to the system each time they are freed.

    A step allocates the same hundreds of megabytes as the one before it. Fetched anew from the
    system, every page of them costs a fault; what that takes is in docs/performance.md. It is a
    setting of the whole process, so the program makes it and the library does not. Without glibc
    nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, or a system that is not Linux
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
