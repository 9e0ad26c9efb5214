"""Fixtures: strips made on the spot, in folders of their own."""

from __future__ import annotations

import functools
import os
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores, what they start does too
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from digitsum.cli import app
from digitsum.datasets import digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition, compose, write
from digitsum.models import architecture, check_options
from digitsum.models import create as create_model
from digitsum.models.base import Architecture
from digitsum.recipe import Recipe
from digitsum.training import train
from digitsum.training.events import OnEvent, Result

if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # as under nohup: what is ignored here is ignored by the programs that tests start, what has a
    # handler is not
    signal.signal(signal.SIGHUP, lambda number, frame: None)

MNIST = Path(__file__).parents[2] / "shared" / "mnist"

needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="MNIST does not stand beside the project"
)


digits._builtin = functools.cache(digits._builtin)  # a second each time; none changes them


def pytest_configure() -> None:
    """Ctrl-C works in what tests start, though a shell ignores it in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def fit(
    recipe: Recipe, data: StripSet, path: Path | str, on_event: OnEvent | None = None
) -> Result:
    """Trains from the start, over whatever is there."""
    return train(data, recipe, out=path, overwrite=True, on_event=on_event)


def build(arch: str, width: int, options: dict[str, Any] | None = None) -> Architecture:
    """A fresh model; `weights` among the options is what it starts from."""
    keys = dict(options or {})
    weights = keys.pop("weights", "none")
    cls = architecture(arch)
    model = create_model(cls, width, check_options(cls, arch, keys))
    if weights != "none":
        model.load_pretrained(weights)
    return model


def run(*args: object) -> CliResult:
    """A command in this process, whatever comes of it."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def ok(*args: object) -> CliResult:
    """A command that must end with 0."""
    result = run(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@contextmanager
def at_most(bytes_: int) -> Iterator[None]:
    """What runs inside may take so many bytes more than there were."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= bytes_, f"{peak:,} bytes"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in an empty folder, with one seed, the user's settings out of the way."""
    monkeypatch.chdir(tmp_path)
    for name in ("DIGITSUM_MNIST", "DIGITSUM_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def made() -> Composition:
    """60 built-in strips of two digits, 84 pixels wide."""
    return compose("builtin", strips=60, per_strip=(2, 2), seed=3)


@pytest.fixture
def strips(made: Composition) -> StripSet:
    """The same as a set in memory."""
    return StripSet.from_arrays(made.images, made.sums, "made")


@pytest.fixture
def folder(made: Composition, tmp_path: Path) -> Path:
    """The same in two files, with their truth."""
    write(made, tmp_path / "strips", files=2)
    return tmp_path / "strips"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two small checkpoints of strips/, which `project` lays out."""
    folder = tmp_path_factory.mktemp("trained")
    made = noise()
    for name, seed in (("a", 0), ("b", 1)):
        recipe = Recipe.from_dict({"arch": "cnn", "epochs": 1, "seed": seed, "device": "cpu"})
        fit(recipe, StripSet.from_arrays(*made, "strips"), folder / f"{name}.pt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def project(trained: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder as a person has it: strips/ with one pair, and two checkpoints trained on it."""
    images, sums = noise()
    (tmp_path / "strips").mkdir()
    np.save("strips/data0.npy", images)
    np.save("strips/lab0.npy", sums)
    for name, content in trained.items():
        Path(name).write_bytes(content)
    return tmp_path


def noise() -> tuple[np.ndarray, np.ndarray]:
    """50 strips of noise on black, 42 pixels wide, and sums."""
    rng = np.random.default_rng(0)
    strips = np.zeros((50, 40, 42), np.uint8)
    strips[:, 1:-1, 1:-1] = rng.integers(0, 255, (50, 38, 40), np.uint8)
    return strips, rng.integers(0, 10, 50)


@pytest.fixture(scope="session")
def exported_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `digitsum export reader` writes, once for all workers."""
    own = tmp_path_factory.getbasetemp()  # a worker's lies in that of the session
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    path = shared / "exported.onnx"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            result = CliRunner().invoke(app, ["export", "reader", str(path)])
            assert result.exit_code == 0, result.output
            assert "strips uint8 (N, 40, 168)" in result.stderr
    return path
