"""What people see: tables and lines that fit their terminal."""

from __future__ import annotations

import io
import itertools
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from digitsum.cli.display import PADDING, draw_table
from digitsum.display import Column, Table, best_rows, describe, percent
from digitsum.evaluation.comparison import ComparedModel, Comparison, Pair
from digitsum.evaluation.metrics import Metrics
from digitsum.evaluation.overlap import TrainingOverlap
from digitsum.evaluation.scoring import Evaluation
from digitsum.predictions import Predictions
from digitsum.training.events import (
    EpochRecord,
    Estimate,
    Passed,
    Restart,
    Result,
    Scores,
    Scoring,
    Start,
)
from digitsum.training.progress import TrainingDisplay, epoch_line, words

WIDTHS = (40, 60, 80, 100, 120, 160)
NAMES = ["cnn.pt", "resnet.pt", "runs/2026-11-26/an experiment of many words/reader.pt"]
GOOD = Metrics(10_000, 0.27, 0.52, 0.068, 98.22, 98.42, 99.55, 98.22)
POOR = Metrics(10_000, 2.35, 1.53, 1.119, 30.30, 72.97)


def comparison() -> Comparison:
    rows = [
        ComparedModel(name, arch, parameters, 1234.5, TrainingOverlap(), metrics)
        for name, arch, parameters, metrics in zip(
            NAMES, ["cnn", "resnet", "reader"], [159_298, 23_503_809, 517_883], [POOR, POOR, GOOD],
            strict=True,
        )
    ]  # fmt: skip
    pairs = [
        Pair(a, b, -12.3, (-13.98, -10.62), 3.1e-45) for a, b in itertools.combinations(NAMES, 2)
    ]
    return Comparison("data", 10_000, rows, pairs, np.arange(10_000), [])


def result(best: int = 3, last: int = 8) -> Result:
    scores = [Scores(epoch, replace(GOOD, count=24_000), replace(POOR, count=6_000))
              for epoch in (best, last)]  # fmt: skip
    return Result(*scores, [], Path("cnn.pt"), Path("cnn.last.pt"))


def tables() -> dict[str, Table]:
    overlap = TrainingOverlap(0, 6_000)
    own = Evaluation(NAMES[2], "reader", {"train": GOOD, "val": POOR}, overlap)
    given = Evaluation(NAMES[2], "reader", {"data": GOOD}, TrainingOverlap())
    both = comparison()
    return {
        "compare": both.table(), "pairs": both.pair_table(), "eval": own.table(),
        "eval, given": given.table(), "train": result().table(),
    }  # fmt: skip


def drawn(table: Table, width: int, ansi: bool = False) -> str:
    console = Console(
        width=width,
        file=io.StringIO(),
        force_terminal=ansi,
        color_system="standard" if ansi else None,
    )
    console.print(draw_table(table, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def first_column(text: str) -> str:
    """What stands in the first column of a drawn table, without white space."""
    cells = (re.match(r"\S+( \S+)*", line) for line in text.splitlines())
    return re.sub(r"\s", "", "".join(cell[0] for cell in cells if cell))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", tables())
def test_a_table_fits_and_loses_no_name(name: str, width: int) -> None:
    table = tables()[name]
    text = drawn(table, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    words_shown = re.sub(r"[\s│]", "", text)
    if name in ("compare", "pairs"):
        for given in NAMES:
            assert all(
                piece in words_shown for piece in re.findall(r"\S{1,8}", given.split("/")[-1])
            )
    headers = [column.header for column in table.columns]
    shown = [header for header in headers if header in text]
    if name in ("compare", "eval", "eval, given", "train"):
        assert {"exact-match %", headers[0]} <= set(shown)
    if width >= 160:
        assert shown == headers
        assert "left out" not in text
    elif shown != headers:
        assert "left out at this width: " in text


def test_at_120_characters_all_columns_are_there() -> None:
    for table in tables().values():
        assert table.fitted(120, PADDING).columns == table.columns


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_whole_however_narrow_a_table_is(width: int) -> None:
    shown = first_column(drawn(comparison().table(), width))
    assert all(re.sub(r"\s", "", name) in shown for name in NAMES)


def test_the_best_is_bold_among_rows_that_can_be_compared() -> None:
    assert best_rows([1.0, 3.0, None, 2.0], "high", ["a"] * 4) == {1}
    assert best_rows([1.0, 3.0, None, 1.0], "low", ["a"] * 4) == {0, 3}
    assert best_rows([1.0, 3.0, 2.0], "low", ["a", "b", "b"]) == {2}  # the first one is alone
    exact = next(c for c in comparison().table().columns if c.header == "exact-match %")
    assert exact.best == {2}
    own = Evaluation("m.pt", "reader", {"train": GOOD, "val": POOR}, TrainingOverlap())
    assert all(not column.best for column in own.table().columns)
    text = drawn(comparison().table(), 160, ansi=True)
    assert re.search(r"\x1b\[1m\s*98\.22", text)
    assert not re.search(r"\x1b\[1m\s*30\.30", text)


def test_best_and_last_are_one_row_each_where_they_are_one_epoch() -> None:
    both, one = result(3, 8).table(), result(8, 8).table()
    assert [len(t.columns[0].cells) for t in (both, one)] == [4, 2]
    assert one.columns[0].cells == ["best, last (epoch 8)"] * 2
    assert both.columns[1].cells == ["training", "validation*", "training", "validation"]
    assert "* used for checkpoint selection" in str(both)


def test_results_print_as_tables() -> None:
    text = str(comparison())
    assert text.splitlines()[1].split() == [
        "model", "arch", "parameters", "strips/s", "MSE", "RMSE", "MAE", "exact-match", "%",
        "within", "1", "%", "digit", "%", "string", "%",
    ]  # fmt: skip
    assert "McNemar p" in text
    assert "<b>98.22</b>" in comparison()._repr_html_()
    assert "<caption>" in result().table()._repr_html_() or "<table>" in result()._repr_html_()
    hostile = Table("<b>", [Column("<i>", ["<u>"])], note="<s>")
    assert "<u>" not in hostile._repr_html_()
    assert hostile._repr_html_().count("&lt;") == 4


RECORD = EpochRecord(12, 1.4996, 0.9938, 12.67, 36.65, 0.001, 91.2, 286.4, True)


@given(st.integers(20, 200))
def test_an_epoch_fits_its_line_or_says_the_least(width: int) -> None:
    line = epoch_line(RECORD, width)
    least = "epoch  12  val loss 0.9938  exact-match 12.67%  best"
    assert len(line) <= width or line == least
    assert line.startswith("epoch  12  ")
    assert line.endswith("  best")
    assert set(re.split(r"  +", least.replace("epoch  12", "epoch_12"))) <= set(
        re.split(r"  +", line.replace("epoch  12", "epoch_12"))
    )


def test_an_epoch_says_more_where_there_is_room() -> None:
    full = epoch_line(RECORD, None)
    assert full == (
        "epoch  12  loss 1.4996  val loss 0.9938  exact-match 12.67%  within 1 36.65%  "
        "286 strips/s  91 s  best"
    )
    assert epoch_line(RECORD, 80) == (
        "epoch  12  loss 1.4996  val loss 0.9938  exact-match 12.67%  91 s  best"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_break_between_words(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    events = [
        Start("resnet", 23_503_809, 24_000, 6_000, "cuda:0, bf16, in 8 processes"),
        Estimate(4000.0, 50, 298.0), Restart(2, 3, 4, 7.4, 13.6), Scoring(30_000), RECORD,
        Passed(2, 231.0),
    ]  # fmt: skip
    display = TrainingDisplay(console)
    for event in events:
        display(event)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line.rstrip()) <= width for line in lines)
    said = " ".join(" ".join(lines).split())
    assert said == " ".join(" ".join(words(event, width) for event in events).split())


def test_a_prediction_in_words() -> None:
    assert describe(7.93, 8, None, None) == "8 (value 7.93)"
    assert describe(7.9, 8, 0.991, [3, 5]) == "3 + 5 = 8, confidence 99.1%"
    assert describe(7.9, 8, 0.991, None) == "8, confidence 99.1%"
    assert describe(0.0, 0, 1.0, []) == "no digit = 0, confidence above 99.9%"


def test_nothing_is_said_to_be_certain() -> None:
    shown = {0.0: "below 0.1%", 0.0005: "0.1%", 0.9994: "99.9%", 0.99999: "above 99.9%"}
    assert {p: percent(p) for p in shown} == shown
    sure = Predictions(np.array([8]), np.array([8.0], np.float32), np.array([1.0], np.float32))
    assert "1.0000" not in str(sure)
    assert "0.9999" in str(sure)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal as Unix has it")
def test_in_a_terminal_of_80_characters_nothing_is_wider(project: Path) -> None:
    for command in (
        "compare a.pt b.pt", "eval a.pt", "predict strips/data0.npy --model a.pt --out p.csv",
        "train --arch cnn --epochs 2 --data strips --out new.pt --device cpu",
    ):  # fmt: skip
        ours, theirs = pty.openpty()
        env = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "LINES": "30"}
        process = subprocess.Popen(
            [sys.executable, "-m", "digitsum", *command.split()],
            stdin=theirs, stdout=theirs, stderr=theirs, env=env,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so where the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert process.wait() == 0, shown
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
        assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", text)), text
        if command.startswith("compare"):
            assert "a.pt" in text
            assert "b.pt" in text
        if "--out" in command:
            assert "wrote " in text
