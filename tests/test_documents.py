"""Documents that are made from the code, and code that is made from documents."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import digitsum

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["commands", "api"])
def test_the_reference_is_that_of_this_code(name: str) -> None:
    made = runpy.run_path(str(ROOT / "docs" / "reference.py"))[name]()
    kept = (ROOT / "docs" / f"{name}.md").read_text()
    if name == "commands" and "<str>" not in made:
        pytest.skip("this version of Typer names types in another way than the page")
    assert made.split() == kept.split(), "run make reference"  # Typer may space it otherwise


def test_the_architecture_in_contributing_works(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = [textwrap.dedent(b) for b in re.findall(r"```\w+\n(.*?)```", text, re.S)]
    site = tmp_path / "site"
    shutil.copytree(ROOT / "digitsum", site / "digitsum")
    for block in blocks:
        if named := re.match(r"# (digitsum/\S+)\n", block):
            (site / named[1]).write_text(block)
    (row,) = (block for block in blocks if block.lstrip().startswith('"tiny":'))
    table = site / "digitsum" / "models" / "__init__.py"
    table.write_text(table.read_text().replace("ARCHITECTURES = {\n", "ARCHITECTURES = {\n" + row))

    np.save("data.npy", np.random.default_rng(0).integers(0, 255, (60, 40, 42), np.uint8))
    np.save("lab.npy", np.arange(60) % 10)
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


def test_the_citation_names_this_version() -> None:
    assert f"version: {digitsum.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target
