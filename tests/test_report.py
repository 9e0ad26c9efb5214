"""The report: what it says, and that a real browser shows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fit
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.datasets.strips import StripSet
from digitsum.evaluation.comparison import ComparedModel, Comparison, Pair
from digitsum.evaluation.metrics import calibration_error, reliability, score, selective_accuracy
from digitsum.evaluation.overlap import TrainingOverlap
from digitsum.predictions import Predictions
from digitsum.recipe import Recipe

pytest.importorskip("jinja2", reason="the extra report is not installed")
pytest.importorskip("matplotlib", reason="the extra report is not installed")

from digitsum.report import captions
from digitsum.report.content import ReportContent, Subject
from digitsum.training.events import Passed

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
    predictions = Predictions(value=read.astype(np.float32), sum=read.astype(np.int64))
    metrics = score(predictions.value, predictions.sum, truth)
    row = ComparedModel(name, "cnn", 1000, 10.0, TrainingOverlap(0, 0), metrics)
    history = keys.pop("history", [])
    return Subject(row, predictions, history, keys.pop("best", 1), [], [], keys.pop("passed", None))


def test_sentences_follow_from_the_data() -> None:
    truth = np.repeat(np.arange(10, 20), 20)
    squeezed = np.where(truth < 15, truth + 1, truth - 1)
    a, b = subject("a", truth, truth), subject("b", squeezed, truth)
    for p_value, end in (
        (1e-9, "(95% interval 90.00 to 99.00): more than chance."),
        (0.4, "on so many strips that may be chance (p = 0.40)."),
    ):
        pair = Pair("a", "b", 100.0, (90.0, 99.0), p_value)
        both = Comparison("data", 200, [a.row, b.row], [pair], np.arange(200), [])
        report = ReportContent("made", "data", truth, [a, b], both)
        said = captions.headline(report)
        assert said.startswith("a predicts 100.00% of the sums right, 100.00 points")
        assert said.endswith(end)
    middle = "b is 1.00 off (RMSE) and pulls to the middle: +1.0 at low sums, -1.0 at high ones."
    assert captions.predicted_against_true(report, b) == middle
    assert captions.by_sum(report, a) == "a gets 100.0% right whatever the sum is."
    assert captions.describe_strips(report) == "200 strips of made"
    losses = [{"val_loss": loss} for loss in (2.0, 1.0, 1.5)]
    falling = subject("c", truth, truth, history=losses, best=2)
    rise = "c was best in epoch 2 of 3; in the last one its validation loss was 50% higher."
    assert captions.curves(falling) == rise
    quick = subject("d", truth, truth, history=losses, best=3, passed=Passed(2, 75.2))
    assert captions.curves(quick) == (
        "d was best in the last of its 3 epochs. It reached 94.92% of the validation strips, as "
        "the technical report's pretrained ResNet-50 does, in epoch 2, after 75 s."
    )


def test_three_models_of_one_name_keep_their_own_pairs() -> None:
    truth = np.arange(200)
    good, bad, worse = (
        subject("m.pt", np.where(truth < right, truth, truth + 1), truth) for right in (200, 90, 20)
    )
    pairs = [
        Pair("m.pt", "m.pt", difference, (difference - 1, difference + 1), 0.001)
        for difference in (-35.0, -90.0, -55.0)  # worse and bad, worse and good, bad and good
    ]
    rows = [worse.row, bad.row, good.row]
    three = Comparison("data", 200, rows, pairs, truth, [])
    report = ReportContent("made", "data", truth, [worse, bad, good], three)
    said = "m.pt predicts 100.00% of the sums right, 55.00 points more than m.pt"
    assert captions.headline(report).startswith(f"{said} (95% interval 54.00 to 56.00)")
    assert three.pair(0, 2).difference == -90
    assert three.pair(2, 0) == Pair("m.pt", "m.pt", 90.0, (89.0, 91.0), 0.001)


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
        fit(Recipe.from_dict(keys), strips, folder / name)
        names.append(str(folder / name))
    out = folder / "report.html"
    result = CliRunner().invoke(
        app, ["report", *names, "reader", "--data", str(folder / "strips"), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return out


@pytest.mark.slow
def test_a_page_is_small_whole_and_escaped(page: Path) -> None:
    text = page.read_text()
    assert page.stat().st_size < 3_000_000
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;&amp;script&gt;$x$.pt" in text
    for title in ("Learning curves", "Predicted against true", "Accuracy by true sum", "Cost",
                  "Confidence", "What reader looks at", "Largest errors of"):  # fmt: skip
        assert f"<h2>{title}" in text
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text


@pytest.mark.slow
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


@pytest.mark.slow
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
