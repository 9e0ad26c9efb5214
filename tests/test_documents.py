"""Documents that are made from the code, and code that is made from documents."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import digitsum
from digitsum.cli import app
from digitsum.datasets import NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["commands", "api"])
def test_the_reference_is_that_of_this_code(name: str) -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "reference.py"))[name]()
    kept = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    if name == "commands" and "<path>" not in made:
        pytest.skip("this version of Typer names types in another way than the page")
    assert made.split() == kept.split(), "run make reference"  # Typer may space it otherwise


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each code block."""
    return [
        (kind, textwrap.dedent(code))
        for kind, code in re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    ]


def commands(block: str) -> dict[str, str]:
    """Each command of a console block with the output below it."""
    found = re.findall(r"^\$ ([^\n]+)\n((?:(?!\$ )[^\n]*\n)*)", block, re.M)
    return {command.split("  #")[0].strip(): output for command, output in found}


def run_command(command: str) -> str:
    """Runs a command of a document, shorter where it would take long; gives its stdout."""
    words = shlex.split(command.replace("--epochs 50", "--epochs 1"))
    words = words[words.index("digitsum") + 1 :]  # torchrun's own words are left out
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (command, result.output, result.exception)
    return result.stdout


@pytest.fixture
def reader_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person has at hand, with few strips so that all is quick."""
    monkeypatch.setitem(NAMES, "builtin", (60, 0))
    made = digitsum.compose("builtin", 40, per_strip=(2, 2), seed=1)
    np.save("new.npy", made.images)
    Path("mine").mkdir()
    uvicorn = pytest.importorskip("uvicorn", reason="the extra draw is not installed")
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: sockets[0].close())


@pytest.mark.slow
@pytest.mark.usefixtures("reader_of_the_readme")
def test_every_command_and_line_of_the_readme_runs(exported_reader: Path) -> None:
    pytest.importorskip("jinja2", reason="the extra report is not installed")
    made = digitsum.compose("builtin", 40, per_strip=(2, 2), seed=2)
    names: dict[str, Any] = {"strips": made.images, "sums": made.sums}
    ran = set()
    for kind, block in blocks(README):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(block, names)
            if "true sums" in block:
                assert "true sums: [13 32 12 16 22]" in said.getvalue()
            names |= {"strips": made.images, "sums": made.sums}
        for command in commands(block) if kind == "console" else ():
            if not command.startswith(("pip ", "make ")):
                run_command(command)
                ran.add(command)
    for command in re.findall(r"`((?:digitsum|torchrun) [^`]+)`", README):
        if command == "digitsum export reader reader.onnx":
            shutil.copy(exported_reader, "reader.onnx")  # it takes long, and has run already
        elif command not in ran:
            extra = " --port 0" if command == "digitsum draw" else ""
            extra = " --out torchrun.pt" if command.startswith("torchrun") else extra
            run_command(command + extra)


def test_the_first_prediction_of_the_readme_is_what_is_printed() -> None:
    (block,) = (b for kind, b in blocks(README) if kind == "console" and "synth try" in b)
    run_command("digitsum synth try --strips 5 --files 1")
    printed = commands(block)["digitsum predict try/data0.npy"].splitlines()[1:]
    found = run_command("digitsum predict try/data0.npy").splitlines()
    assert found[0] == printed[0]
    for ours, theirs in zip(found[1:], printed[1:], strict=True):
        a, b = ours.split(","), theirs.split(",")
        assert a[:4] + a[7:] == b[:4] + b[7:]  # sums, digits and positions on every machine
        assert [float(n) for n in a[4:7]] == pytest.approx([float(n) for n in b[4:7]], abs=0.01)
    sums = np.load("try/lab0.npy").tolist()
    assert [int(line.split(",")[3]) for line in found[1:]] == sums
    said = re.search(r"true sums are ([^:]+):", README)
    assert said is not None
    assert list(map(int, re.findall(r"\d+", said[1]))) == sums


def test_every_make_target_that_a_document_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"`make ([\w-]+)`", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.M), (page.name, target)


def contributed(folder: Path) -> dict[str, str]:
    """The files of CONTRIBUTING's architecture by name, and the row of the table as `row`."""
    found = {}
    for _, block in blocks((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        if named := re.match(r"# (tiny\.\w+)\n", block):
            found[named[1]] = block
        elif block.lstrip().startswith('"tiny":'):
            found["row"] = block
    assert set(found) == {"tiny.py", "tiny.yaml", "row"}
    return found


def strips_to_train_on() -> None:
    np.save("data.npy", np.random.default_rng(0).integers(0, 255, (60, 40, 42), np.uint8))
    np.save("lab.npy", np.arange(60) % 10)


@pytest.mark.slow
def test_the_architecture_of_contributing_works_inside_digitsum(tmp_path: Path) -> None:
    files, site = contributed(tmp_path), tmp_path / "site"
    shutil.copytree(ROOT / "digitsum", site / "digitsum")
    (site / "digitsum" / "models" / "tiny.py").write_text(files["tiny.py"])
    (site / "digitsum" / "recipes" / "tiny.yaml").write_text(files["tiny.yaml"])
    table = site / "digitsum" / "models" / "__init__.py"
    head = "ARCHITECTURES = {\n"
    table.write_text(table.read_text().replace(head, head + files["row"]))
    strips_to_train_on()
    for command in (
        "train --arch tiny --data data.npy --epochs 1 --set channels=8",
        "eval tiny.pt",
        "predict data.npy --model tiny.pt --out read.csv",
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n"
             f"from digitsum.cli import app; app({command.split()!r})"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len(Path("read.csv").read_text().splitlines()) == 61


@pytest.mark.slow
def test_the_architecture_of_contributing_works_outside_digitsum(tmp_path: Path) -> None:
    files = contributed(tmp_path)
    for name in ("tiny.py", "tiny.yaml"):
        Path(name).write_text(files[name])
    strips_to_train_on()
    digitsum_command = Path(sys.executable).with_name("digitsum")
    for command in (
        "train --arch tiny:Tiny --data data.npy --epochs 1 --set channels=8",
        "eval tiny.pt --arch tiny:Tiny",
        "predict data.npy --model tiny.pt --arch tiny:Tiny --out read.csv",
    ):
        done = subprocess.run(
            [digitsum_command, *command.split()], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert len(Path("read.csv").read_text().splitlines()) == 61


def test_the_citation_names_this_version() -> None:
    assert f"version: {digitsum.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if target.startswith("http"):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in [anchor_of(heading) for heading in headings], (target, anchor)


def anchor_of(heading: str) -> str:
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
