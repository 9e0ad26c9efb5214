from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from digitsum.__main__ import main
try:
    main()
except SystemExit:
    assert "torch" not in sys.modules  # which reads them as it loads
    print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        ({}, "passive 2000"),
        ({"OMP_WAIT_POLICY": "active"}, "active None"),
        ({"GOMP_SPINCOUNT": "0"}, "None 0"),
    ],
)
def test_threads_that_wait_sleep_soon_unless_asked_otherwise(
    outside: dict[str, str], inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == inside
