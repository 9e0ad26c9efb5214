"""The page to write on: its ink, what its server refuses, and a browser that writes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handwriting import written
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from digitsum.cli import app as cli
from digitsum.errors import DataError
from digitsum.inference import LoadedModel, load_model, make_ready
from digitsum.training.teaching import Lesson

pytest.importorskip("starlette", reason="the extra draw is not installed")
pytest.importorskip("uvicorn", reason="the extra draw is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect, sync_playwright
from starlette.requests import Request
from starlette.testclient import TestClient

from digitsum.draw import lessons, server
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


HAND = ["4071", "2356", "8910", "1234", "5678"]
TAUGHT = [{"strokes": written(digits, 0, 0, 100), "sum": sum(map(int, digits))} for digits in HAND]
WRONG = [{**each, "sum": 36 - each["sum"]} for each in TAUGHT]  # not read right already


def ended(client: TestClient) -> dict[str, Any]:
    """How the lesson went, once it is over."""
    for _ in range(1200):
        if not (now := client.get("/lesson").json())["running"]:
            return dict(now)
        time.sleep(0.1)
    raise AssertionError("the lesson does not end")


def taught_by_shift(model: LoadedModel, *given: Any) -> Lesson:
    """A lesson that takes no time: it makes a blank improbable."""
    weights = {name: weight.clone() for name, weight in model.checkpoint.weights.items()}
    weights["head.bias"][0] -= 20
    checkpoint = dataclasses.replace(model.checkpoint, weights=weights)
    return Lesson(make_ready(checkpoint, model.name, "cpu"), 5, 1, 3, kept=True)


def test_a_model_is_taught_saved_and_forgotten(
    reader: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = TestClient(make_app([reader], ["testserver"]))
    before = client.post("/predict", json=READ).json()["sums"]
    assert client.get("/lesson").json()["teachable"] == ["reader"]
    assert client.get("/mine.pt?model=reader").status_code == 404
    monkeypatch.setattr(lessons, "teach", taught_by_shift)
    assert client.post("/teach", json={"model": "reader", "strips": TAUGHT}).status_code == 200
    now = ended(client)
    assert now["taught"] == ["reader"]
    assert now["lesson"] == {"strips": 5, "before": 1, "after": 3, "kept": True}
    assert client.post("/predict", json=READ).json()["sums"] != before
    saved = client.get("/mine.pt?model=reader")
    assert saved.headers["content-disposition"] == 'attachment; filename="mine.pt"'
    (tmp_path / "mine.pt").write_bytes(saved.content)
    assert load_model(tmp_path / "mine.pt", "cpu").arch == "reader"
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.get("/mine.pt?model=reader", headers=foreign).status_code == 403
    assert client.post("/forget", json={"model": "reader"}).json()["taught"] == []
    assert client.post("/predict", json=READ).json()["sums"] == before


def test_one_lesson_at_a_time_and_it_can_be_stopped(
    reader: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(make_app([reader], ["testserver"]))
    asked = {"model": "reader", "strips": WRONG}

    def slow(*given: Any) -> Lesson:
        while True:
            given[-1](0.5)
            time.sleep(0.01)

    monkeypatch.setattr(lessons, "teach", slow)
    assert client.post("/teach", json=asked).json()["running"]
    for where in ("/teach", "/forget"):
        response = client.post(where, json=asked)
        assert response.status_code == 409
        assert response.json()["error"].startswith("a lesson is under way")
    assert client.post("/predict", json=READ).json()["digits"] == [1]  # it answers meanwhile
    client.post("/stop", json={})
    assert ended(client)["stopped"]

    def fails(*given: Any) -> Lesson:
        raise MemoryError

    monkeypatch.setattr(lessons, "teach", fails)
    client.post("/teach", json=asked)
    assert "out of memory" in ended(client)["error"]
    assert client.get("/lesson").json()["taught"] == []


@pytest.mark.parametrize(
    ("status", "words", "request_"),
    [
        (400, "not JSON", {"content": "{"}),
        (413, "at most", {"content": " " * 1_000_001}),
        (415, "application/json", {"json": {}, "headers": {"content-type": "text/plain"}}),
        (403, "http://evil.example", {"json": {}, "headers": {"origin": "http://evil.example"}}),
        (403, "other sites", {"json": {}, "headers": {"sec-fetch-site": "cross-site"}}),
        (404, "there is no model", {"json": {"strips": TAUGHT}}),
        (422, "5 to 20 strips", {"json": {"model": "reader", "strips": TAUGHT[:4]}}),
        (422, "5 to 20 strips", {"json": {"model": "reader", "strips": TAUGHT * 5}}),
        (422, "5 to 20 strips", {"json": {"model": "reader"}}),
        (422, "0..36", {"json": {"model": "reader", "strips": [{**TAUGHT[0], "sum": 37}] * 5}}),
        (422, "0..36", {"json": {"model": "reader", "strips": [1] * 5}}),
        (422, "no strokes", {"json": {"model": "reader", "strips": [{"sum": 1}] * 5}}),
        (422, "closer", {"json": {"model": "reader", "strips": [
            {"sum": 4, "strokes": [[[x, 0], [x, 100]] for x in (0, 900, 1800, 2700)]}] * 5}}),
    ],
)  # fmt: skip
def test_bad_lessons_are_answered_with_a_reason(
    client: TestClient, status: int, words: str, request_: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json", **request_.pop("headers", {})}
    response = client.post("/teach", headers=headers, **request_)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert not client.get("/lesson").json()["running"]


@pytest.mark.parametrize("where", ["/stop", "/forget"])
def test_other_sites_stop_and_forget_nothing(client: TestClient, where: str) -> None:
    foreign = {"origin": "http://evil.example"}
    assert client.post(where, json={"model": "reader"}, headers=foreign).status_code == 403
    assert client.get(where).status_code == 405


def test_other_names_for_this_machine_are_not_answered(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405


def test_a_machine_out_of_memory_is_an_answer_and_no_end(
    client: TestClient, reader: LoadedModel
) -> None:
    takes_too_much = reader.module.register_forward_pre_hook(lambda *_: torch.empty(10**15))  # type: ignore[arg-type]
    try:
        response = client.post("/predict", json=READ)
    finally:
        takes_too_much.remove()
    assert response.status_code == 503
    assert "out of memory" in response.json()["error"]
    assert client.post("/predict", json=READ).json()["digits"] == [1]


def test_a_request_that_does_not_come_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(server, "MAX_SECONDS", 0.05)
    with pytest.raises(server.Refused, match="was not here") as caught:
        asyncio.run(server._content(Request({"type": "http"}, never)))
    assert caught.value.status == 408


@contextmanager
def serving(*code: str, host: str = "127.0.0.1", files: int = 256) -> Iterator[Any]:
    """A real `digitsum draw`: its port and its process; `said.txt` holds what it says."""
    import resource  # not on Windows

    lines = [*code, "import sys", "from digitsum.__main__ import main", "main()"]
    command = [sys.executable, "-c", "\n".join(lines), "draw", "--port", "0", "--device", "cpu"]
    with open("said.txt", "wb") as said:
        process = subprocess.Popen(
            [*command, "--host", host], stderr=said,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )  # fmt: skip
    try:
        while not (found := re.search(r"http://\S+:(\d+)/ ", Path("said.txt").read_text())):
            assert process.poll() is None, Path("said.txt").read_text()
            time.sleep(0.05)  # the cores are for the server
        yield int(found[1]), process
    finally:
        process.kill()
        process.wait()


def connected(port: int, sent: bytes = b"", timeout: float = 60) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    made.sendall(sent)
    return made


def answer(port: int, sent: bytes) -> bytes:
    """All that comes until the server closes the connection."""
    with connected(port, sent) as made:
        return b"".join(iter(lambda: made.recv(65536), b""))


def answer_at_last(port: int, sent: bytes) -> bytes:
    """The answer, once the server has noticed that the other connections are closed."""
    for _ in range(600):
        try:
            return answer(port, sent)
        except ConnectionError:  # one too many: reset
            time.sleep(0.1)
    return answer(port, sent)


def posted(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [
        b"POST /predict HTTP/" + version, b"Content-Type: application/json",
        b"Connection: close", b"Content-Length: %d" % len(body), *headers, b"", body,
    ]  # fmt: skip
    return b"\r\n".join(lines)


HOST = b"Host: 127.0.0.1"
WHOLE = posted(json.dumps(READ).encode(), HOST)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_unfinished_requests_do_not_keep_it_from_ending(name: str) -> None:
    number = signal.Signals[name]
    with serving() as (port, process):
        held = [connected(port, WHOLE[:-5]), connected(port, b"GET / HT"), connected(port)]
        assert answer(port, WHOLE).startswith(b"HTTP/1.1 200")
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        for each in held:
            each.close()
    assert len(Path("said.txt").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_lesson_that_is_under_way_does_not_keep_it_from_ending(name: str) -> None:
    number = signal.Signals[name]
    lesson = json.dumps({"model": "reader", "strips": WRONG}).encode()
    with serving() as (port, process):
        begun = answer(port, posted(lesson, HOST).replace(b"/predict", b"/teach"))
        assert b'"running":true' in begun
        process.send_signal(number)
        assert process.wait(60) == 128 + number  # and torch does not abort it
    assert len(Path("said.txt").read_text().splitlines()) == 1


@pytest.mark.slow
def test_whatever_comes_is_answered_without_a_traceback() -> None:
    with serving(host="0.0.0.0") as (port, _):
        requests = {
            400: [
                posted(b"{}", b"Origin: http://127.0.0.1", version=b"1.0"),  # and no host
                posted(b"{}", HOST, HOST), posted(b"[" * 99_000, HOST),
                posted(b'{"strokes": [[[%s, 0]]]}' % (b"9" * 5000), HOST),
                posted(b'{"a":' * 30_000, HOST), b"GET / HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n",
            ],
            403: [posted(b"{}", HOST, b"Origin: http://[")],
            404: [
                posted(b"{}", b"Host: [", b"Origin: http://["),
                posted(b'{"model": "\\ud800\\u001b"}', HOST),
            ],
            405: [b"OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
            422: [posted(b'{"model": "reader", "strokes": [[[NaN, 1e999]]]}', HOST)],
            200: [
                b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n",
                WHOLE.replace(b"Connection: close\r\n", b"") * 5 + WHOLE,
            ],
        }  # fmt: skip
        for status, sent in requests.items():
            for each in sent:
                assert answer(port, each).startswith(b"HTTP/1.1 %d " % status), each[:200]
        for end in (len(WHOLE) - 5, len(WHOLE)):  # broken off, the first half politely
            for reset in (False, True) * 5:
                with connected(port, WHOLE[:end]) as made:
                    if reset:
                        linger = struct.pack("ii", 1, 0)
                        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert answer(port, WHOLE).startswith(b"HTTP/1.1 200")
    assert len(Path("said.txt").read_text().splitlines()) == 2  # where, and who can reach it


@pytest.mark.slow
@pytest.mark.parametrize("files", [64, 256])
def test_more_connections_than_files_cost_no_words_and_no_later_answer(files: int) -> None:
    with serving(files=files) as (port, _):
        held = []
        for _ in range(600):
            try:
                held.append(connected(port, timeout=3))
            except OSError:  # nobody accepts them
                break
        assert len(held) > files
        for each in held:
            each.close()
        assert answer_at_last(port, WHOLE).startswith(b"HTTP/1.1 200")
    assert len(Path("said.txt").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_connection_ends_whatever_is_left_unsent() -> None:
    with serving("from digitsum.draw import serving", "serving.LIFETIME = 0.2") as (port, _):
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nHost: x\r\nX: "):
            assert answer(port, sent) == b""


def test_a_host_that_no_machine_can_have_is_one_line() -> None:
    for host in ("a..b", os.fsdecode(b"\xe9"), "nowhere.invalid", "\x1b]0;x\x07"):
        result = CliRunner().invoke(cli, ["draw", "--host", host])
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: cannot listen on ")
        assert line.isprintable()


def test_a_port_that_is_taken_is_one_line() -> None:
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
    tab.locator("#count").select_option("")  # any, as other tests of this page want it
    tab.keyboard.press("Escape")


@pytest.mark.slow
def test_the_page_fits_a_phone_in_the_dark(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(21, 24, 29)"
    tab.set_viewport_size({"width": 1040, "height": 1000})


@pytest.mark.slow
def test_a_hand_is_taught_in_a_browser(tab: Any) -> None:
    tab.keyboard.press("Escape")
    tab.locator("#teach").click()
    asked = tab.locator("#number")
    tab.locator("#next").click()
    expect(tab.locator("#wrong")).to_have_text("Write the number first, or skip it.")
    seen = ""
    for turn in range(10):
        expect(asked).to_contain_text(f"{turn + 1} of 10: write ")
        number = asked.locator("b").inner_text()
        seen += number
        if turn == 8:
            tab.locator("#skip").click()
            continue
        box = tab.locator("#paper").bounding_box()
        wrong = "1111" if turn % 3 == 0 else number  # so that there is something to learn
        for stroke in written(wrong, box["x"] + 40, box["y"] + 40, 120, gap=0.4):
            tab.mouse.move(*stroke[0])
            tab.mouse.down()
            for point in stroke[1:]:
                tab.mouse.move(*point)
            tab.mouse.up()
        if turn == 5:
            tab.locator("#back").click()
            expect(asked).to_contain_text("5 of 10")
            tab.locator("#next").click()
            expect(asked).to_contain_text("6 of 10")
        tab.locator("#next").click()
    assert sorted(seen) == sorted("0123456789" * 4)
    expect(tab.locator("#share")).to_be_visible()
    expect(tab.locator("#learnt")).to_have_text(
        re.compile("9 numbers it read|of 9 right"), timeout=200_000
    )
    expect(tab.locator("#asked")).to_be_hidden()
    if tab.locator("#forget").is_visible():
        assert tab.request.get(tab.locator("#mine").evaluate("a => a.href")).status == 200
        tab.locator("#forget").click()
        expect(tab.locator("#learnt")).to_contain_text("Forgotten")
    expect(tab.locator("#mine")).to_be_hidden()
    tab.locator("#teach").click()
    tab.locator("#cancel").click()
    expect(tab.locator("#asked")).to_be_hidden()
