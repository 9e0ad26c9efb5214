"""What the shells offer after Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from digitsum.cli import completion
from digitsum.datasets import NAMES


def offered(shell: str, typed: str) -> list[str]:
    """What the shell's completion script would ask for, and what it gets."""
    words = typed.split(" ")
    env = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
        "fish": {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    digitsum = Path(sys.executable).with_name("digitsum")
    done = subprocess.run(
        [digitsum], env={**os.environ, **env, "_DIGITSUM_COMPLETE": f"complete_{shell}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.replace('"', " ").split()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_completes(shell: str) -> None:
    assert {"reader", "resnet"} <= set(offered(shell, "digitsum train --arch r"))
    assert {"mnist", "mnist-test"} <= set(offered(shell, "digitsum eval reader --data m"))
    assert "compare" in offered(shell, "digitsum com")


def test_files_are_offered_where_they_fit() -> None:
    odd = ("c\x1b]0;title\x07.pt", "c\n.pt", "c\u202e.npy", os.fsdecode(b"c\xe9.yaml"))
    for name in ("cnn.pt", "cnn.last.pt", "cut.npy", "c.yaml", ".cnn.pt.lock", *odd):
        Path(name).touch()
    Path("cases").mkdir()
    Path("cases/one.pt").touch()
    assert completion.checkpoints("c") == ["cases/", "cnn.last.pt", "cnn.pt"]
    assert completion.checkpoints("cases/o") == ["cases/one.pt"]
    assert completion.checkpoints("rea") == ["reader"]
    assert completion.data("c") == ["cases/", "cut.npy"]
    assert completion.recipe_files("c") == ["c.yaml", "cases/"]
    assert completion.checkpoints("gone/x") == []
    assert tuple(NAMES) == completion.DATA


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(shell: str) -> None:
    digitsum = Path(sys.executable).with_name("digitsum")
    done = subprocess.run(
        [digitsum, "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert f"complete_{shell}" in done.stdout


def test_variants_of_recipes_are_offered_too() -> None:
    assert completion.recipe_files("fa") == ["fast"]
