"""Whatever stdin, stdout and stderr are: no traceback, a code that is documented, whole files."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from digitsum.display import as_text, counted, on_one_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="streams as Unix has them")

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMANDS = {  # and what they write
    "--help": None,
    "--version": None,
    "recipes": None,
    "recipes cnn": None,
    "predict --help": None,
    "info a.pt --history": None,
    "synth made --strips 2 --files 1": "made/data0.npy",
    "predict strips/data0.npy --model a.pt": None,
    "predict strips/data0.npy --model a.pt --show": None,
    "predict strips/data0.npy --model a.pt --out sums.csv": "sums.csv",
    "eval gone.pt": None,  # an error
}
STREAMS = [
    ">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1",
    "| head -n 1", "2>&1 | head -n 1",
]  # fmt: skip
SLOW = ("predict", "info a.pt", "eval", "synth")  # these load torch or SciPy


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which `digitsum` is this one."""
    script = f'set -o pipefail; digitsum() {{ "{sys.executable}" -m digitsum "$@"; }}; {line}'
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=False)


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=pytest.mark.slow if c.startswith(SLOW) else ()) for c in COMMANDS],
)
def test_a_stream_that_takes_nothing_is_no_traceback(
    project: Path, command: str, streams: str
) -> None:
    ended = shell(f"{{ digitsum {command} ; }} {streams}")
    said = ended.stdout + ended.stderr
    assert b"Traceback" not in said, said
    assert b"Exception ignored" not in said, said
    expected = 1 if command.startswith("eval") else 0
    if "|" not in streams:  # before the pipe breaks, a short output may be in it
        silent = (written := COMMANDS[command]) or command.startswith("eval")
        full = ">/dev/full" in streams and not streams.startswith("2") and not silent
        assert ended.returncode == (1 if full else expected), said
        if full and "2>" not in streams:
            assert said == b"error: cannot write the output: No space left on device; free some, " \
                b"or write elsewhere\n"  # fmt: skip
        if written == "sums.csv":
            assert len(Path(written).read_text().splitlines()) == 51
        elif written:
            assert np.load(written).shape == (2, 40, 168)
    assert ended.returncode in (0, 1)


ODD_NAMES = [b"caf\xe9.npy", "café.npy".encode(), b"a\nb\tc.npy", b"\x1b[31mred.npy", b'"a",b.npy']


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, ASCII, {"PYTHONIOENCODING": "latin-1"}],
                         ids=["as it is", "ascii", "latin-1"])  # fmt: skip
def test_any_name_is_told_in_every_form(project: Path, environment: dict[str, str]) -> None:
    for name in ODD_NAMES:
        Path(os.fsdecode(name)).symlink_to("strips/data0.npy")
    expected = [name.decode("utf-8", "backslashreplace") for name in ODD_NAMES]
    files = "caf*.npy a*c.npy $'\\x1b'* '\"'*"
    predict = f"LC_COLLATE=C; digitsum predict {files} --model a.pt"
    tables = shell(f"{predict}; {predict} --out t.csv", **environment)
    assert tables.returncode == 0, tables.stderr
    assert Path("t.csv").read_bytes() == tables.stdout
    rows = csv.DictReader(io.StringIO(tables.stdout.decode("utf-8"), newline=""))
    assert {row["file"] for row in rows} == set(expected)
    document = shell(f"{predict} --json", **environment)
    told = {row["file"] for row in json.loads(document.stdout.decode("ascii"))["predictions"]}
    assert told == set(expected)
    drawn = shell(f"{predict} --show", **environment)
    assert b"\x1b" not in drawn.stdout
    assert b"a\\nb\\tc.npy, strip 0\n" in drawn.stdout


@pytest.mark.slow
def test_an_undecodable_name_serves_for_every_output(project: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    Path(f"{name}.pt").symlink_to("a.pt")
    for command in ("info", "info --json", "eval", "eval --json", "report --out r.html"):
        ended = shell(f"digitsum {command} $'caf\\xe9.pt'")
        assert ended.returncode == 0, ended.stderr
        assert "report" in command or b"caf\\\\xe9.pt" in ended.stdout.replace(b"f\\x", b"f\\\\x")
    assert rb"caf\xe9.pt" in Path("r.html").read_bytes()
    ended = shell("digitsum predict strips/data0.npy --model a.pt --out $'caf\\xe9.csv'")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        0, rb"wrote 50 predictions to caf\xe9.csv"
    )  # fmt: skip
    assert Path(f"{name}.csv").exists()
    ended = shell("digitsum eval $'gone\\n\\xe9.pt'")
    assert (ended.returncode, ended.stdout) == (1, b"")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(rb"error: gone\n\xe9.pt does not exist")


@pytest.mark.slow
def test_a_terminal_of_ascii_gets_characters_for_grey(project: Path) -> None:
    for encoding in (ASCII, {"PYTHONIOENCODING": "latin-1"}):
        command = "digitsum predict strips/data0.npy --model a.pt --show"
        drawn = shell(command, FORCE_COLOR="1", **encoding)
        assert drawn.returncode == 0, drawn.stderr
        assert rb"\u2580" not in drawn.stdout
        assert b"@" in drawn.stdout


@pytest.mark.slow
@pytest.mark.parametrize("width", ["9" * 5000, "²", "0", "-5", "1", ""])
def test_whatever_width_a_terminal_is_said_to_have(project: Path, width: str) -> None:
    for command in ("recipes", "info", "eval a.pt"):
        ended = shell(f"digitsum {command}", COLUMNS=width, LINES=width)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert len(ended.stdout) < 20_000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal as Unix has it")
def test_a_name_does_nothing_to_a_terminal(project: Path) -> None:
    name = "\x1b]0;title\x07\u202e.npy"
    np.save(name, np.load("strips/data0.npy")[:2])
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "digitsum", "predict", "--model", "a.pt", name]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert r"\x1b]0;title\x07\u202e.npy,0," in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_text_of_names() -> None:
    assert as_text("a\n" + os.fsdecode(b"\xe9")) == "a\n\\xe9"
    assert as_text("é".encode().decode("ascii", "surrogateescape")) == "é"
    assert on_one_line("日本 é ½ 🙂") == "日本 é ½ 🙂"
    for code in (
        *range(0x20), *range(0x7F, 0xA0),  # C0, DEL, C1
        0xAD, 0x200B, 0x200D, 0xFEFF,  # soft hyphen, zero width
        *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C,  # bidirectional overrides
        0x2028, 0x2029, 0xE0041, 0xE000, 0xDC80, 0xD800,  # separators, tags, private, surrogates
    ):  # fmt: skip
        assert on_one_line(f"a{chr(code)}b").isprintable()
        assert chr(code) not in on_one_line(chr(code))
    assert on_one_line("é…\t\n\x1b[1m\udce9\ud800") == "é…\\t\\n\\x1b[1m\\xe9\\ud800"


def test_nouns_are_counted() -> None:
    assert [counted(n, "strip") for n in (0, 1, 2000)] == ["0 strips", "1 strip", "2,000 strips"]
    assert counted(2, "process", "processes") == "2 processes"


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_a_file_gets_no_bar(project: Path, variable: str) -> None:
    for command in (
        "train --arch cnn --epochs 1 --data strips --device cpu --out new.pt", "eval a.pt",
        "compare a.pt b.pt", "predict strips/data0.npy --model a.pt --out p.csv",
    ):  # fmt: skip
        ended = shell(f"digitsum {command}", **{variable: "1"})
        assert ended.returncode == 0, ended.stderr
        assert b"\r" not in ended.stderr
        assert b"\x1b[2K" not in ended.stderr
        assert "━".encode() not in ended.stderr
        assert len(ended.stderr) < 1000


@pytest.mark.slow
def test_one_of_a_kind_is_no_plural(project: Path) -> None:
    np.save("one.npy", np.load("strips/data0.npy")[:1])
    ended = shell("digitsum predict one.npy --model a.pt --out one.csv")
    assert ended.stderr.splitlines()[-1] == b"wrote 1 prediction to one.csv"
    assert b"wrote 1 strip of" in shell("digitsum synth one --strips 1 --files 1").stderr
