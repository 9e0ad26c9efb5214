"""The report: what it says, and that a real browser shows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.comparison import Comparison, Pair, Row
from digitsum.datasets.arrays import StripSet
from digitsum.evaluation import Known
from digitsum.metrics import calibration_error, reliability, score, selective_accuracy
from digitsum.readings import Readings
from digitsum.recipe import Recipe
from digitsum.training import train

pytest.importorskip("jinja2", reason="the extra report is not installed")
pytest.importorskip("matplotlib", reason="the extra report is not installed")

from digitsum.report import words
from digitsum.report.gather import Report, Subject

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_surest_first_and_all_together(pairs: list[tuple[float, bool]]) -> None:
    sure, right = (np.array(column) for column in zip(*pairs, strict=True))
    accuracy = selective_accuracy(sure, right)
    assert accuracy[-1] == pytest.approx(100 * right.mean())
    assert accuracy[0] == 100 * right[np.argmax(sure)]
    count, _, _ = reliability(sure, right, 15)
    assert count.sum() == len(pairs)
    assert 0 <= calibration_error(sure, right) <= 100


def test_calibration_error_in_closed_form() -> None:
    sure = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 9 + [False] + [True] * 5 + [False] * 5)
    assert calibration_error(sure, right) == pytest.approx(5.0)  # 95 says 90, 55 says 50
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0


def subject(name: str, read: np.ndarray, truth: np.ndarray, **keys: Any) -> Subject:
    readings = Readings(value=read.astype(np.float32), sum=read.astype(np.int64))
    metrics = score(readings.value, readings.sum, truth)
    row = Row(name, "cnn", 1000, 10.0, Known(0, 0), metrics)
    history = keys.pop("history", [])
    return Subject(row, readings, history, keys.pop("best", 1), [], [])


def test_sentences_follow_from_the_data() -> None:
    truth = np.repeat(np.arange(10, 20), 20)
    squeezed = np.where(truth < 15, truth + 1, truth - 1)
    a, b = subject("a", truth, truth), subject("b", squeezed, truth)
    for p_value, end in ((1e-9, "(95% interval 90.00 to 99.00): more than chance."),
                         (0.4, "on so many strips that may be chance (p = 0.40).")):  # fmt: skip
        pair = Pair("b", "a", -100.0, (-99.0, -90.0), p_value)
        both = Comparison("data", 200, [a.row, b.row], [pair], np.arange(200), [])
        report = Report("made", "data", truth, [a, b], both)
        assert words.headline(report).startswith("a reads 100.00% of the sums right, 100.00 points")
        assert words.headline(report).endswith(end)
    middle = "b is 1.00 off (RMSE) and pulls to the middle: +1.0 at low sums, -1.0 at high ones."
    assert words.read_against_true(report, b) == middle
    assert words.by_sum(report, a) == "a reads 100.0% right whatever the sum is."
    assert words.strips_in_words(report) == "200 strips of made"
    losses = [{"val_loss": loss} for loss in (2.0, 1.0, 1.5)]
    falling = subject("c", truth, truth, history=losses, best=2)
    rise = "c was best in epoch 2 of 3; in the last one its validation loss was 50% higher."
    assert words.curves(falling) == rise


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on all three architectures, one of a hostile name."""
    from digitsum.datasets.digits import load_digits
    from digitsum.datasets.synthesis import compose

    folder = tmp_path_factory.mktemp("report")
    made = compose(load_digits("builtin"), strips=120, seed=4)
    (folder / "strips").mkdir()
    np.save(folder / "strips/data0.npy", made.images)
    np.save(folder / "strips/lab0.npy", made.sums)
    strips = StripSet([str(folder / "strips")], [made.images], made.sums)
    names = []
    for arch, name in (("cnn", "<script>alert(1)<&script>$x$.pt"), ("resnet", "resnet.pt")):
        keys = {"arch": arch, "epochs": 1, "limit": 8, "device": "cpu", "precision": "fp32"}
        keys |= {"weights": "none"} if arch == "resnet" else {}
        train(Recipe.from_dict(keys), strips, folder / name)
        names.append(str(folder / name))
    out = folder / "report.html"
    result = CliRunner().invoke(
        app, ["report", *names, "reader", "--data", str(folder / "strips"), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return out


def test_a_page_is_small_whole_and_escaped(page: Path) -> None:
    text = page.read_text()
    assert page.stat().st_size < 3_000_000
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;&amp;script&gt;$x$.pt" in text
    for title in ("How they learnt", "Read against true", "Right by true sum", "What it costs",
                  "How sure it is", "What reader sees", "Where"):  # fmt: skip
        assert f"<h2>{title}" in text
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text


def test_one_model_alone_and_what_is_there_stays(page: Path) -> None:
    command = ["report", "reader", "--data", str(page.parent / "strips")]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert "McNemar" not in Path("report.html").read_text()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "report.html exists" in again.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium to open the page with")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running
        running.close()


@pytest.mark.parametrize("width", [390, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_every_figure(browser: Any, page: Path, width: int, scheme: str) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("dialog", lambda dialog: heard.append(dialog.message))
    tab.on("request", lambda request: heard.append(request.url)
           if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    sizes = tab.evaluate(
        "[...document.querySelectorAll('figure svg, figure img')]"
        ".map(figure => figure.getBoundingClientRect()).map(box => [box.width, box.height])"
    )
    assert len(sizes) > 12
    assert all(wide > 100 and high > 20 for wide, high in sizes)
    ink, back = tab.evaluate(
        "[getComputedStyle(document.querySelector('figure text')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    light = [sum(map(int, c[4:-1].split(","))) > 380 for c in (ink, back)]
    assert light == ([False, True] if scheme == "light" else [True, False])
    assert heard == []
    tab.close()
