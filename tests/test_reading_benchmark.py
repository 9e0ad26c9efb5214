"""Engines beside ours in `benchmarks/reading_speed.py`, with stand-ins for those of others."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from digitsum.datasets.synthesis import compose
from digitsum.inference import load_model

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OTHERS = ("easyocr", "pytesseract", "rapidocr_onnxruntime")


@pytest.fixture
def reading_speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in OTHERS:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    import reading_speed

    return reading_speed


def test_engines_that_are_not_installed_are_left_out_with_a_line(
    reading_speed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = reading_speed.recognition(
        load_model("reader", "cpu", "fp32"), compose("builtin", 8).as_strips("builtin"), 8
    )
    assert [row["engine"] for row in rows] == ["digitsum"]
    assert (rows[0]["exact-match %"], rows[0]["times ours"]) == (100, 1)
    said = capsys.readouterr().out.splitlines()
    for name in ("easyocr", "tesseract", "rapidocr"):
        assert sum(line.startswith(f"{name} is left out: ") for line in said) == 1


def test_the_digits_that_rapidocr_reads_are_added_up(
    reading_speed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    class RapidOCR:
        def __init__(self, **settings: int) -> None:
            pass

        def __call__(self, pixels: np.ndarray, **settings: bool) -> tuple[Any, float]:
            given.append(pixels)
            return ([["3 a 5", 0.9], ["01", 0.8]] if len(given) % 2 else None), 0.0

    fake = ModuleType("rapidocr_onnxruntime")
    fake.RapidOCR = RapidOCR  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", fake)
    made = compose("builtin", 2)
    found = reading_speed.engines(load_model("reader", "cpu", "fp32"))["rapidocr"](made.images)
    assert found.tolist() == [9, 0]
    np.testing.assert_array_equal(given[0], 255 - made.images[0])  # it reads dark on light
