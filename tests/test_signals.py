"""Signals at any moment: while Python imports, where nobody takes an exception, at the end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
IN_AN_IMPORT = """
import runpy, signal, sys
place, name = sys.argv[1:3]
class Finder:  # of modules, asked before any other
    @staticmethod
    def find_spec(module, path=None, target=None):
        if module == place:
            signal.raise_signal(signal.Signals[name])
sys.meta_path.insert(0, Finder)
sys.argv = ["digitsum", "info"]
runpy.run_module("digitsum", run_name="__main__", alter_sys=True)
"""


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", STOPPING)
@pytest.mark.parametrize(
    "place",
    [
        "digitsum.cli",
        "typer",
        pytest.param("numpy._core._multiarray_umath", marks=pytest.mark.slow),
        pytest.param("torch._C", marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_an_import_is_an_exit_code_and_no_words(place: str, name: str) -> None:
    done = python(IN_AN_IMPORT, place, name)
    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], "")


def test_next_to_nothing_is_imported_before_signals_are_seen_to() -> None:
    code = (
        "import sys; before = set(sys.modules); import digitsum.__main__\n"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith('digitsum')))\n"
        "print([m for m in ('typer', 'pathlib', 'rich') if m in set(sys.modules) - before])"
    )
    assert python(code).stdout.splitlines() == [
        "['digitsum', 'digitsum.__main__', 'digitsum._version', 'digitsum.signals']", "[]"
    ]  # fmt: skip


def test_a_signal_where_nobody_takes_an_exception_is_not_lost() -> None:
    code = (
        "import signal, time\n"
        "from digitsum import signals\n"
        "class Odd:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGTERM)\n"
        "signals.install()\n"
        "try:\n"
        "    Odd()\n"
        "    time.sleep(30)\n"
        "except signals.Terminated as ending: print(ending.exit_code)"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "")


def test_what_waits_for_the_end_of_an_import_does_not_tear_a_file() -> None:
    code = (
        "import signal, time\n"
        "from digitsum import signals\n"
        "from digitsum.files import uninterrupted\n"
        "signals.install()\n"
        "signals._again(signal.SIGINT)\n"
        "try:\n"
        "    with uninterrupted():\n"
        "        time.sleep(50 * signals.AGAIN)\n"
        "        print('whole')\n"
        "    time.sleep(30)\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\nstopped\n", "")


@pytest.mark.parametrize("name", STOPPING)
def test_a_failure_ends_as_it_said_too(name: str) -> None:
    code = (
        "import atexit, signal, sys\n"
        "from digitsum.cli import main\n"
        f"atexit.register(signal.raise_signal, signal.{name})\n"  # while Python ends
        "sys.argv[1:] = ['gone']\n"
        "main()"
    )
    done = python(code)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("No such command 'gone'.\n")
