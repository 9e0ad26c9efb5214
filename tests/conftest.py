"""Fixtures: strips made on the spot, in folders of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import Composition, compose, write

MNIST = Path(__file__).parents[2] / "shared" / "mnist"

needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="MNIST does not stand beside the project"
)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in an empty folder, with one seed, the user's settings out of the way."""
    monkeypatch.chdir(tmp_path)
    for name in ("DIGITSUM_MNIST", "DIGITSUM_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def made() -> Composition:
    """60 built-in strips of two digits, 84 columns wide."""
    return compose(load_digits("builtin"), strips=60, per_strip=(2, 2), seed=3)


@pytest.fixture
def strips(made: Composition) -> StripSet:
    """The same as a set in memory."""
    return StripSet(["made"], [made.images], made.sums)


@pytest.fixture
def folder(made: Composition, tmp_path: Path) -> Path:
    """The same in two files, with their truth."""
    write(made, tmp_path / "strips", files=2)
    return tmp_path / "strips"
