"""How long a thread that waits for others spins before it sleeps."""

from __future__ import annotations

import os

SPIN = 2000  # turns, some 0.1 ms; see docs/performance.md


def sleep_soon() -> None:
    """Lets threads spin a little while they wait, then sleep, where nobody has said otherwise.

    Between the operations of a step threads wait for less than it takes to wake one, so they spin.
    By default they do so without end, and two programs side by side wait for one another. OpenMP
    reads these variables as torch loads, so this comes before. They are settings of the whole
    process, so the program makes them and the library does not.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ["GOMP_SPINCOUNT"] = str(SPIN)
