"""Photographs and pages of handwriting on paper, drawn with a pen on the spot."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ok, run
from handwriting import written
from PIL import Image, ImageDraw, ImageFilter

import digitsum
from digitsum.annotation import INK, SURE
from digitsum.datasets import open_data
from digitsum.datasets.drawings import is_photograph, strip_of
from digitsum.datasets.image_files import open_images
from digitsum.datasets.photographs import LOOKS, looks_at, written_lines
from digitsum.errors import DataError
from digitsum.file_predictor import predict_files
from digitsum.inference import LoadedModel, load_model

LINES = ["3058", "71429", "604"]
PAPER, PEN = 225, 45


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


@pytest.fixture
def _opencv() -> None:
    pytest.importorskip("cv2", reason="photographs need OpenCV, which is not installed")


needs_opencv = pytest.mark.usefixtures("_opencv")


def sheet(
    lines: list[str],
    height: int = 60,
    pen: float = 0.09,
    ruled: float = 0,
    squared: bool = False,
    tilt: float = 0,
    ink: int = PEN,
    paper: int = PAPER,
    ruling: int = 150,
    dotted: tuple[int, int] | None = None,
    faint: tuple[int, int] | None = None,
) -> np.ndarray:
    """Lines of digits on paper, (H, W) uint8; lengths in heights of a digit.

    One digit may be `dotted` and one `faint`: those of this line and place.
    """
    size = (round(height * (max(map(len, lines)) + 3)), round(height * (2 * len(lines) + 2)))
    image = Image.new("L", size, paper)
    draw = ImageDraw.Draw(image)
    for y in np.arange(0.3, size[1] / height, ruled) if ruled else ():
        draw.line((0, height * y, size[0], height * y), fill=ruling, width=2)
    for x in np.arange(0.3, size[0] / height, ruled) if squared else ():
        draw.line((height * x, 0, height * x, size[1]), fill=ruling, width=2)
    width = max(2, round(pen * height))
    for number, digits in enumerate(lines):
        for place, digit in enumerate(digits):
            at = height * (1.4 + place), height * (1.2 + 2 * number)
            fill = (2 * paper + ink) // 3 if faint == (number, place) else ink
            for stroke in written(digit, *at, height):
                if dotted == (number, place):
                    for x, y in points(stroke, 0.13 * height):
                        box = x - width / 2, y - width / 2, x + width / 2, y + width / 2
                        draw.ellipse(box, fill=fill)
                else:
                    draw.line(stroke, fill=fill, width=width, joint="curve")
    image = image.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=paper)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)))


def points(stroke: list[tuple[float, float]], apart: float) -> np.ndarray:
    """Points along a stroke, (n, 2)."""
    given = np.array(stroke, float)
    along = np.append(0, np.cumsum(np.hypot(*np.diff(given, axis=0).T)))
    return np.stack([np.interp(np.arange(0, along[-1], apart), along, xy) for xy in given.T], 1)


def lit(page: np.ndarray, shadow: float = 0.5, grain: float = 3) -> np.ndarray:
    """A page under a light that falls off to the right, half of it in a shadow."""
    rng = np.random.default_rng(0)
    tall, wide = page.shape
    y, x = np.mgrid[0:tall, 0:wide] / max(page.shape)
    light = (1 - 0.4 * x) * np.where(y + 0.4 * x > 0.5 * (tall / wide + 0.4), shadow, 1)
    return np.clip(page * light + rng.normal(0, grain, page.shape), 0, 255).astype(np.uint8)


def read(reader: LoadedModel, page: np.ndarray) -> list[str]:
    """The digits of each line of a page."""
    strips = [line.strip for line in written_lines(page, "page")]
    found = [reader.predict(strip[None], "any").digits for strip in strips]
    return ["".join(map(str, row[0])) for row in found if row is not None]


@needs_opencv
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(lit(sheet(LINES)), id="shadow"),
        pytest.param(lit(sheet(LINES, ruled=2.0)), id="ruled"),
        pytest.param(lit(sheet(LINES, ruled=0.5, squared=True)), id="squared"),
        pytest.param(lit(sheet(LINES, ruled=0.5, squared=True, ruling=60)), id="dark-squares"),
        pytest.param(lit(sheet(LINES, tilt=5, ruled=2.0)), id="tilted"),
        pytest.param(lit(sheet(LINES, height=28)), id="small"),
        pytest.param(lit(sheet(LINES, height=200)), id="large"),
        pytest.param(lit(sheet(LINES, height=100, pen=0.04)), id="thin-pen"),
        pytest.param(lit(sheet(LINES, ink=230, paper=60), 0.8), id="blackboard"),
        pytest.param(lit(sheet(LINES)).astype(np.uint16) * 257, id="16-bit"),
    ],
)
def test_lines_are_found_and_read(reader: LoadedModel, page: np.ndarray) -> None:
    assert is_photograph(page)
    assert read(reader, page) == LINES


@needs_opencv
@pytest.mark.parametrize("place", [(0, 2), (1, 3), (2, 0)])
@pytest.mark.parametrize("pen", [0.05, 0.09])
def test_a_digit_of_dots_is_not_lost(
    reader: LoadedModel, place: tuple[int, int], pen: float
) -> None:
    assert read(reader, lit(sheet(LINES, pen=pen, dotted=place))) == LINES


@needs_opencv
def test_a_digit_that_is_too_faint_is_said(reader: LoadedModel) -> None:
    Image.fromarray(lit(sheet(LINES))).save("plain.png")
    Image.fromarray(lit(sheet(LINES, faint=(1, 2)))).save("faint.png")
    assert not predict_files(reader, "plain.png", "any").notes
    (note,) = predict_files(reader, ["plain.png", "faint.png"], "any").notes
    said = re.search(r"not read, though perhaps a digit: .* in faint\.png at (\d+), (\d+) ", note)
    assert said
    x, y = map(int, said.groups())
    assert abs(x - 60 * (1.4 + 2.3)) < 20
    assert abs(y - 60 * 3.7) < 20
    ok("predict", "faint.png", "--digits-per-strip", "any", "--annotate", "drawn.png")
    drawn = np.asarray(Image.open("drawn.png")).astype(int)
    red = (drawn == INK).all(-1)[y - 45 : y + 46, x - 45 : x + 46]
    assert red.any(0).sum() > 20  # a box around it
    assert not (drawn == SURE).all(-1)[y - 40 : y + 41].any()  # its line is not drawn as sure


@needs_opencv
def test_a_digit_that_is_too_faint_is_said_of_labelled_pictures(tmp_path: Path) -> None:
    pages = {"a.png": sheet(["3058"]), "b.png": sheet(["7142"], faint=(0, 1))}
    for name, page in pages.items():
        Image.fromarray(lit(page)).save(tmp_path / name)
    (tmp_path / "sums.csv").write_text("file,sum\na.png,16\nb.png,14\n")
    (note,) = open_data(tmp_path).notes
    assert "perhaps a digit" in note
    assert "b.png" in note
    assert "a.png" not in note


@needs_opencv
def test_dust_is_no_digit(reader: LoadedModel) -> None:
    page, rng = sheet(LINES).copy(), np.random.default_rng(0)
    tall, wide = page.shape
    for y, x in zip(rng.integers(3, tall - 3, 40), rng.integers(3, wide - 3, 40), strict=True):
        page[y : y + 3, x : x + 2] = PEN
    assert read(reader, lit(page)) == LINES


@needs_opencv
def test_boxes_and_places_are_those_of_the_digits() -> None:
    page = lit(sheet(LINES, height=60))
    for number, line in enumerate(written_lines(page, "page")):
        left, top, right, bottom = line.box
        assert abs(top - 60 * (1.2 + 2 * number)) < 10
        assert abs(bottom - 60 * (2.2 + 2 * number)) < 10
        assert abs(left - 1.4 * 60) < 10
        assert line.places.shape == (line.strip.shape[1], 2)
        columns = np.flatnonzero(line.strip.max(0) > 128)
        x, y = line.places[columns].T
        assert (np.diff(x) >= 0).all()
        assert abs(x[0] - left) < 10
        assert abs(x[-1] - right) < 10
        assert ((y > top) & (y < bottom)).all()


def test_a_strip_is_looked_at_larger_and_moved_and_columns_are_brought_back() -> None:
    strip = np.zeros((40, 168), np.uint8)
    middles = np.array([20, 60, 150], np.int32)
    for middle in middles:
        strip[10:30, middle - 1 : middle + 2] = 255
    drawn, *others = looks_at(strip)
    assert np.array_equal(drawn.strip, strip)
    assert len(others) == len(LOOKS) - 1
    for look in others:
        ink = look.strip.sum(0, dtype=float)
        peaks = [look.scale * middle + look.moved for middle in middles]
        assert all(ink[round(peak)] > 0.9 * ink.max() for peak in peaks)
        seen = np.array([[*map(round, peaks), -1]], np.int32)
        assert np.abs(look.columns(seen)[0, :3] - middles).max() <= 1
        assert look.columns(seen)[0, 3] == -1


@needs_opencv
@pytest.mark.parametrize("kind", ["paper", "squares", "noise", "clouds"])
def test_what_is_no_handwriting_is_said(kind: str) -> None:
    rng = np.random.default_rng(1)
    blank = np.full((400, 600), PAPER, np.uint8)
    squares = blank.copy()
    squares[::30] = squares[:, ::30] = 140
    clouds = Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8)).resize((600, 400))
    page = {
        "paper": lit(blank),
        "squares": lit(squares),
        "noise": rng.integers(0, 255, (400, 600), np.uint8),
        "clouds": np.asarray(clouds),
    }[kind]
    Image.fromarray(page).save("page.png")
    with pytest.raises(DataError, match=r"page\.png: no line of handwriting was found"):
        open_images([Path("page.png")])


def test_drawings_stay_with_what_reads_them() -> None:
    drawing = sheet(["3058"])
    strip = strip_of(drawing, "drawing")
    assert not is_photograph(drawing)
    assert not is_photograph(255 - drawing)
    assert not is_photograph(strip)
    assert not is_photograph(np.full((90, 90), 17, np.uint8))
    Image.fromarray(drawing).save("drawing.png")
    (opened,) = open_images([Path("drawing.png")])
    np.testing.assert_array_equal(opened[:][0], strip)


@needs_opencv
def test_a_row_for_each_line_of_each_file() -> None:
    Image.fromarray(lit(sheet(LINES))).save("page.png")
    Image.fromarray(lit(sheet(["42"]))).save("one.jpg")
    found = ok("predict", "page.png", "one.jpg", "--digits-per-strip", "any").stdout.splitlines()
    rows = list(csv.DictReader(found))
    assert [(row["file"], row["index"], row["line"], row["sum"]) for row in rows] == [
        ("page.png", "0", "1", "16"),
        ("page.png", "0", "2", "23"),
        ("page.png", "0", "3", "10"),
        ("one.jpg", "0", "", "6"),
    ]


@needs_opencv
def test_pages_without_writing_are_left_out_among_others() -> None:
    Image.fromarray(lit(np.full((400, 600), PAPER, np.uint8))).save("blank.png")
    Image.fromarray(lit(sheet(["42"]))).save("one.png")
    result = run("predict", "blank.png", "one.png", "--digits-per-strip", "any")
    assert result.exit_code == 1
    assert "left out: blank.png: no line of handwriting was found" in result.stderr
    assert len(result.stdout.splitlines()) == 2


@needs_opencv
def test_what_was_read_is_drawn_into_pictures() -> None:
    page = lit(sheet(LINES))
    Image.fromarray(page).save("page.png")
    Image.fromarray(sheet(["42"])).save("drawing.png")
    ok("predict", "page.png", "--digits-per-strip", "any", "--annotate", "read.png")
    drawn = np.asarray(Image.open("read.png"))
    assert drawn.shape == (*page.shape, 3)
    (line, *_) = written_lines(page, "page")
    left, top, right, bottom = line.box
    coloured = np.ptp(drawn.astype(int), axis=2) > 40
    assert coloured[top - 40 : bottom + 20, left - 20 : right + 60].mean() > 0.02
    result = run("predict", "page.png", "--digits-per-strip", "any", "--annotate", "read.png")
    assert result.exit_code == 2
    assert "read.png" in result.stderr
    ok("predict", "page.png", "drawing.png", "--digits-per-strip", "any", "--annotate", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["drawing.png", "page.png"]


@pytest.mark.parametrize(
    ("images", "out", "said"),
    [
        (["a.png", "b.png"], "x.png", "give a folder, there are 2 pictures"),
        (["a.png", "more/a.png"], "out", "two of the pictures have the same name"),
        (["a.png"], "x.bmp", "--annotate x.bmp: give a .png, .jpg, .jpeg, or a folder"),
        (["strips.npy"], "x.png", r"strips.npy is none"),
        (["a.png"], "a.png", "a.png"),
    ],
)
def test_annotations_that_cannot_be(images: list[str], out: str, said: str) -> None:
    Path("more").mkdir()
    for name in ("a.png", "b.png", "more/a.png"):
        Image.fromarray(sheet(["42"])).save(name)
    np.save("strips.npy", np.zeros((2, 40, 84), np.uint8))
    result = run("predict", *images, "--digits-per-strip", "2", "--annotate", out, "--overwrite")
    assert result.exit_code == 2
    assert said in result.stderr


def test_without_opencv_photographs_are_said_to_need_it(
    reader: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    Image.fromarray(lit(sheet(LINES))).save("page.png")
    Image.fromarray(sheet(["42"])).save("drawing.png")
    found = predict_files(reader, ["page.png", "drawing.png"], "any")
    (note,) = found.notes
    assert "page.png" in note
    assert "drawing.png" not in note
    assert "pip install 'digitsum[pictures]'" in note
    assert len(list(found)) == 2


def test_a_drawing_in_a_frame_is_a_drawing(reader: LoadedModel) -> None:
    made = digitsum.compose("builtin", 8, seed=3)
    right = 0
    for number, strip in enumerate(made.images):
        page = 255 - np.kron(strip, np.ones((4, 4), np.uint8))
        page[[0, 1, -2, -1]] = page[:, [0, 1, -2, -1]] = 0
        Image.fromarray(page).save(f"{number}.png")
        (opened,) = open_images([Path(f"{number}.png")])
        right += int(reader.predict(opened[0:1]).sum[0]) == made.sums[number]
    assert right >= 6
