"""Strips in the terminal."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.cli.terminal_images import render_strip
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import load_model
from digitsum.predictions import Predictions


def test_light_is_dense_and_every_line_is_as_wide_as_asked() -> None:
    strip = np.zeros((40, 168), np.uint8)
    strip[:, 84:] = 255
    lines = render_strip(strip, 84, colour=False).plain.split("\n")
    assert lines == 10 * [42 * " " + 42 * "@"]
    strip[:] = np.arange(168)
    (line, *_) = render_strip(strip, 168, colour=False).plain.split("\n")
    assert [" .:-=+*#%@".index(c) for c in line] == [v * 10 // 256 for v in range(168)]


def test_in_colour_each_half_of_a_character_is_a_pixel() -> None:
    strip = np.zeros((40, 40), np.uint8)
    strip[0, 3], strip[1, 3] = 200, 77
    text = render_strip(strip, 40, colour=True)
    assert text.plain.split("\n") == 20 * [40 * "▀"]
    style = text.get_style_at_offset(Console(), 3)
    assert (style.color.triplet.red, style.bgcolor.triplet.red) == (200, 77)  # type: ignore[union-attr]


def test_what_is_said_of_a_strip() -> None:
    plain = Predictions(value=np.array([7.93], np.float32), sum=np.array([8]))
    assert str(plain[0]) == "8 (value 7.93)"
    full = Predictions(
        value=plain.value,
        sum=plain.sum,
        confidence=np.array([0.991], np.float32),
        digits=np.array([[3, 5, -1]], np.int8),
        positions=np.array([[0, 44, -1]], np.int16),
    )
    assert str(full[0]) == "3 + 5 = 8, confidence 99.1%"


def test_misread_strips_come_farthest_off_first(strips: StripSet) -> None:
    sums = strips.sums.copy()
    sums[7] += 30  # no strip of two digits has that
    wrong = StripSet(["made"], strips.files, sums, lambda: None)
    model = load_model("reader", "cpu")
    found = evaluate(model, wrong, 50).errors
    off = [abs(m.prediction.value - m.truth) for m in found]
    assert off == sorted(off, reverse=True)
    assert (found[0].row, found[0].truth, found[0].digits) == (7, sums[7], None)
    assert all(m.prediction.sum != sums[m.row] == m.truth for m in found)
    assert all(np.array_equal(m.strip, strips.images()[m.row]) for m in found)
    assert [m.row for m in evaluate(model, wrong, 1).errors] == [7]
    assert evaluate(model, wrong).errors == []


def test_predict_draws_in_place_of_lines_or_beside_a_file(made: Composition) -> None:
    np.save("two.npy", made.images[:2])
    command = ["predict", "two.npy", "--show", "--digits-per-strip", "2"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count(", confidence ") == 2
    assert "two.npy, strip 1\n" in shown.stdout
    both = CliRunner().invoke(app, [*command, "--out", "two.csv"])
    assert both.stdout == shown.stdout
    assert len(Path("two.csv").read_text().splitlines()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["NO_COLOR=1", "TERM=dumb", "COLORTERM=truecolor"])
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal as Unix has it")
def test_where_there_is_no_colour_strips_are_drawn_in_characters(
    made: Composition, variable: str
) -> None:
    import pty

    np.save("one.npy", made.images[:1])
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", **dict([variable.split("=")])}
    command = [sys.executable, "-m", "digitsum", "predict", "one.npy", "--show"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux raises where the other end is closed
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert ("▀".encode() in shown) == (variable == "COLORTERM=truecolor")
    assert (b"@" in shown) != (variable == "COLORTERM=truecolor")


@pytest.mark.usefixtures("project")
def test_eval_draws_its_worst_errors() -> None:
    shown = CliRunner().invoke(app, ["eval", "a.pt", "--show-errors", "2"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count(": the truth is ") == 2
    assert shown.stdout.count("(value ") == 2
