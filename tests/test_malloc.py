from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from digitsum.cli.malloc import keep_freed

FAULTS = """
import resource, sys
from digitsum.cli.malloc import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    block = bytearray(b"x" * (40 << 20))
    del block
before = faults()
for _ in range(5):
    block = bytearray(b"x" * (40 << 20))
    del block
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_blocks_are_not_fetched_from_the_system_again() -> None:
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], capture_output=True, check=True
            ).stdout
        )
        for how in ("kept", "given back")
    )
    assert kept < 100 < 1000 < given_back


def test_elsewhere_than_on_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed()
