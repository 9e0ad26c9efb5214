"""The page to write on: its ink, what its server refuses, and a browser that writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from handwriting import written
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from digitsum.cli import app as cli
from digitsum.errors import DataError
from digitsum.inference import LoadedModel, load_model

pytest.importorskip("starlette", reason="the extra draw is not installed")
pytest.importorskip("uvicorn", reason="the extra draw is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect, sync_playwright
from starlette.testclient import TestClient

from digitsum.draw.server import MAX_BYTES, make_app
from digitsum.draw.strokes import HEIGHT, MAX_WIDTH, PEN, Stroke, parse, strip_of_strokes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def strokes(*given: list[tuple[float, float]]) -> list[Stroke]:
    return [np.array(stroke, float) for stroke in given]


def test_a_stroke_is_as_thick_as_the_pen_and_as_high_as_a_digit() -> None:
    for size in (0.5, 3.0, 30.0):
        strip = strip_of_strokes(strokes([(7 * size, 5 * size), (7 * size, 25 * size)])).strip
        assert strip.shape == (40, 28)
        assert strip[20].sum() / 255 == pytest.approx(PEN, abs=0.05)  # across
        rows = np.flatnonzero((strip > 127).any(1))
        assert len(rows) == pytest.approx(HEIGHT + PEN, abs=1)
        assert rows[0] == 39 - rows[-1]  # in the middle


@given(
    st.lists(
        st.lists(st.tuples(*2 * [st.floats(-1e4, 1e4)]), min_size=1, max_size=8),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_is_written_becomes_a_strip_or_is_refused(given: list[Any]) -> None:
    try:
        ink = strip_of_strokes(parse(json.loads(json.dumps(given))))
    except DataError:
        return
    assert ink.strip.shape[0] == 40
    assert 28 <= ink.strip.shape[1] <= MAX_WIDTH
    assert ink.strip.max() > 127
    assert ink.strip[:, [0, 1, 2]].sum() == 0  # the margin on the left


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


@pytest.mark.parametrize("height", [60.0, 200.0])
@pytest.mark.parametrize("digits", ["0123", "345", "678", "92", "7", "1011", "2468"])
def test_written_digits_are_read(reader: LoadedModel, digits: str, height: float) -> None:
    ink = strip_of_strokes(strokes(*written(digits, 30, 10, height)))
    predictions = reader.predict(ink.strip[None], "any")
    assert predictions.digits is not None
    assert "".join(map(str, predictions.digits[0])) == digits


@pytest.fixture(scope="module")
def client(reader: LoadedModel) -> TestClient:
    return TestClient(make_app([reader], ["testserver"]), raise_server_exceptions=True)


def test_three_models_of_one_name_can_all_be_chosen(reader: LoadedModel) -> None:
    client = TestClient(make_app([reader, reader, reader], ["testserver"]))
    assert client.get("/models").json() == ["reader", "reader (2)", "reader (3)"]
    answer = client.post("/predict", json={**READ, "model": "reader (3)"}).json()
    assert answer["digits"] == [1]


READ = {"model": "reader", "digits": "any", "strokes": [[[0, 0], [0, 100]]]}


def test_the_server_reads_strokes_and_its_own_strips(client: TestClient) -> None:
    answer = client.post("/predict", json=READ).json()
    assert (answer["sum"], answer["digits"]) == (1, [1])
    assert np.shape(answer["probabilities"]) == (7, 10)
    assert client.get("/models").json() == ["reader"]
    right = 0
    for _ in range(10):
        given = client.get("/strip").json()
        asked = {"model": "reader", "digits": 4, "pixels": given["strip"]}
        answer = client.post("/predict", json=asked).json()
        right += answer["sum"] == given["sum"] == sum(given["digits"])
    assert right >= 8
    page = client.get("/")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("status", "words", "request_"),
    [
        (400, "not JSON", {"content": "{"}),
        (400, "not JSON", {"content": "[" * 90_000}),
        (400, "send an object", {"content": "[]"}),
        (413, "at most", {"content": " " * (MAX_BYTES + 1)}),
        (415, "application/json", {"json": READ, "headers": {"content-type": "text/plain"}}),
        (403, "http://evil.example", {"json": READ, "headers": {"origin": "http://evil.example"}}),
        (403, "other sites", {"json": READ, "headers": {"sec-fetch-site": "cross-site"}}),
        (404, "there is no model 'x'", {"json": {**READ, "model": "x"}}),
        (404, "there is no model", {"json": {**READ, "model": ["reader"]}}),
        (422, "1..24", {"json": {**READ, "digits": 0}}),
        (422, "1..24", {"json": {**READ, "digits": True}}),
        (422, "there are no strokes", {"json": {"model": "reader"}}),
        (422, "lists of [x, y]", {"json": {**READ, "strokes": [[]]}}),
        (422, "lists of [x, y]", {"json": {**READ, "strokes": [[[0]]]}}),
        (422, "lists of [x, y]", {"json": {**READ, "strokes": [[["a", 1]]]}}),
        (422, "lists of [x, y]", {"content": json.dumps({**READ, "strokes": [[[1e999, 0]]]})}),
        (422, "5000 points", {"json": {**READ, "strokes": [[[0, 0]] * 5001]}}),
        (422, "write fewer digits", {"json": {**READ, "strokes": [[[0, 0]], [[9999, 1]]]}}),
        (422, "pixels are those", {"json": {**READ, "pixels": {"width": 168, "data": "AAAA"}}}),
        (422, "pixels are those", {"json": {**READ, "pixels": {"width": 10**9, "data": ""}}}),
        (422, "pixels are those", {"json": {**READ, "pixels": {"width": 28, "data": [1]}}}),
        (422, "which have 7 columns", {"json": {**READ, "digits": 24}}),
    ],
)
def test_bad_requests_are_answered_with_a_reason(
    client: TestClient, status: int, words: str, request_: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json", **request_.pop("headers", {})}
    response = client.post("/predict", headers=headers, **request_)
    assert response.status_code == status
    assert words in response.json()["error"]


def test_other_names_for_this_machine_are_not_answered(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405


def test_a_port_that_is_taken_is_one_line() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["draw", "--port", str(port)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1, port {port} (")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a real `digitsum draw`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "digitsum", "draw", "--port", "0", "--device", "cpu"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    found = re.search(r"http://\S+/", process.stderr.readline())
    assert found
    yield found[0]
    process.terminate()
    process.wait(30)
    process.stderr.close()


@pytest.fixture(scope="module")
def tab(address: str) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium to write in")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1040, "height": 1000})
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url)
                if not request.url.startswith((address, "data:")) else None)  # fmt: skip
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        yield page
        assert heard == []
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("digits", ["7", "42", "358", "1906"])
def test_what_is_written_in_a_browser_is_added_up(tab: Any, digits: str) -> None:
    tab.keyboard.press("Escape")
    expect(tab.locator("#answer")).to_have_text("Nothing written yet.")
    box = tab.locator("#paper").bounding_box()
    for stroke in written(digits, box["x"] + 40, box["y"] + 40, 150, gap=0.4):
        tab.mouse.move(*stroke[0])
        tab.mouse.down()
        for point in stroke[1:]:
            tab.mouse.move(*point)
        tab.mouse.up()
    said = f"{' + '.join(digits)} = {sum(map(int, digits))}"
    expect(tab.locator("#answer")).to_have_text(said)
    more = re.compile(r"^confidence (above )?[\d.]+%, [\d.]+ ms$")
    expect(tab.locator("#more")).to_have_text(more)


@pytest.mark.slow
def test_a_strip_is_shown_with_its_true_sum_and_the_keyboard_suffices(tab: Any) -> None:
    tab.locator("#random").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#more")).to_contain_text("true sum")
    tab.locator("#count").select_option("4")
    expect(tab.locator("#answer")).to_have_text(re.compile(r"^\d \+ \d \+ \d \+ \d = \d+$"))
    tab.keyboard.press("Escape")


@pytest.mark.slow
def test_the_page_fits_a_phone_in_the_dark(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(21, 24, 29)"
    tab.set_viewport_size({"width": 1040, "height": 1000})
