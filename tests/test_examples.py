"""The examples run, and print what they promise."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


def test_own_strips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = example("own_strips.py")
    images, sums = own["my_strips"](80, seed=2)
    np.save(tmp_path / "data0.npy", images)
    np.save(tmp_path / "lab0.npy", sums)
    own["main"](tmp_path, epochs=1)
    assert capsys.readouterr().out.count(", true sum ") == 5
    assert (tmp_path / "cnn.pt").exists()


def test_own_digits(tmp_path: Path) -> None:
    assert example("own_digits.py")["main"](tmp_path) > 85


def test_another_hand(tmp_path: Path) -> None:
    assert example("another_hand.py")["main"](tmp_path / "mine.pt", strips=150, epochs=10) > 5


def test_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    example("ten_lines.py")
    *five, _, header, scores = capsys.readouterr().out.splitlines()
    assert len(five) == 5
    for line in five:
        assert re.fullmatch(r"(\d \+ ){3}\d = \d+, confidence .*% \(true sum \d+\)", line)
    place = header.index("exact-match %") + len("exact-match %")
    assert float(scores[:place].split()[-1]) > 90


def test_read_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("read_digits.py")["main"](tmp_path, epochs=1, strips=80)
    printed = capsys.readouterr().out
    assert printed.count("; the digits are ") == 5
    assert printed.endswith("%; no digit ever had a label\n")


def test_compare_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = example("compare_three.py")["main"](tmp_path, epochs=1, strips=60, limit=8)
    assert [row.arch for row in result.models] == ["cnn", "resnet", "reader"]
    assert len(result.pairs) == 3
    assert "159,298" in capsys.readouterr().out  # parameters of cnn
