"""Signals at any moment: while Python imports, where nobody takes an exception, at the end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from digitsum.signals import STOPPING

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")

NAMES = [number.name for number in STOPPING]
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


@unix
@pytest.mark.parametrize("name", NAMES)
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


@unix
def test_next_to_nothing_is_imported_before_signals_are_seen_to() -> None:
    code = (
        "import sys; before = set(sys.modules); import digitsum.__main__\n"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith('digitsum')))\n"
        "print([m for m in ('typer', 'pathlib', 'rich') if m in set(sys.modules) - before])"
    )
    assert python(code).stdout.splitlines() == [
        "['digitsum', 'digitsum.__main__', 'digitsum._version', 'digitsum.signals']", "[]"
    ]  # fmt: skip


@unix
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


@unix
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


def signalled_at_its_end(name: str, argument: str) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal while Python ends."""
    return python(
        "import atexit, signal, sys\n"
        "from digitsum.cli import main\n"
        f"atexit.register(signal.raise_signal, signal.{name})\n"
        f"sys.argv[1:] = [{argument!r}]\n"
        "main()"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_is_done_ends_as_it_said(name: str) -> None:
    done = signalled_at_its_end(name, "--version")
    assert (done.returncode, done.stderr) == (0, "")


@unix
@pytest.mark.parametrize("name", NAMES)
def test_a_failure_ends_as_it_said_too(name: str) -> None:
    done = signalled_at_its_end(name, "gone")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("No such command 'gone'.\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_that_is_ignored_at_the_start_stays_so(name: str) -> None:
    code = (
        "import signal\n"
        f"signal.signal(signal.{name}, signal.SIG_IGN)\n"  # as nohup does
        "from digitsum import signals\n"
        "from digitsum.files import uninterrupted\n"
        "signals.install()\n"
        f"with uninterrupted(): signal.raise_signal(signal.{name})\n"
        f"signal.raise_signal(signal.{name})\n"
        "print('went on')"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a terminal as Unix has it")
def test_a_shell_may_pass_on_the_hang_up_that_came_before() -> None:
    code = (
        "import signal\n"
        "from digitsum import signals\n"
        "signals.install()\n"
        "try: signal.raise_signal(signal.SIGHUP)\n"
        "except signals.Terminated as ending:\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    raise SystemExit(ending.exit_code)"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (129, "")
