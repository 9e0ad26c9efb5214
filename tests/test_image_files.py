"""Pictures of any size and either way round, read as strips."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from handwriting import written
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.datasets import image_files, pictures
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.image_files import SUFFIXES, open_images
from digitsum.datasets.synthesis import compose
from digitsum.errors import DataError
from digitsum.inference import LoadedModel, load_model


def page(digits: str, height: int, dark: bool, mode: str = "L") -> Image.Image:
    """Digits written on a page with wide margins."""
    paper, ink = (240, 20) if dark else (15, 250)
    image = Image.new("L", (int(height * (len(digits) + 2)), 3 * height), paper)
    pen = ImageDraw.Draw(image)
    for stroke in written(digits, 0.8 * height, height, height):
        pen.line(stroke, fill=ink, width=max(2, round(height / 6)), joint="curve")
    return image.convert(mode)


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


@pytest.mark.parametrize("height", [30, 90, 200])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_digits_on_a_page_are_read(
    reader: LoadedModel, height: int, dark: bool, suffix: str
) -> None:
    page("3058", height, dark).save(f"page{suffix}")
    (held,) = open_images([Path(f"page{suffix}")])
    predictions = reader.predict(held[:], "any")
    assert predictions.digits is not None
    assert predictions.digits[0].tolist() == [3, 0, 5, 8]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "I;16", "LA"])
def test_every_kind_of_picture_is_read(reader: LoadedModel, mode: str) -> None:
    image = page("42", 90, dark=True)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image, np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        image.putalpha(image.point(lambda grey: 255 if grey < 128 else 0))
    else:
        image = image.convert(mode, dither=Image.Dither.NONE)
    image.save("page.png")
    (held,) = open_images([Path("page.png")])
    assert reader.predict(held[:], "any").sum[0] == 6


def test_a_strip_stays_as_it_is(made) -> None:
    for number, strip in enumerate(made.images[:3]):
        Image.fromarray(strip).save(f"{number}.png")
    held = open_images([Path("2.png"), Path("0.png")])
    assert np.array_equal(held[0][:][0], made.images[2])
    assert np.array_equal(held[1][:][0], made.images[0])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 300),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=6),
    st.floats(0, 1),
)
def test_any_picture_becomes_a_strip(
    high: int, wide: int, spots: list[tuple[float, float, float]], back: float
) -> None:
    grey = np.full((high, wide), back, np.float32)
    for y, x, level in spots:
        grey[int(y * (high - 1)), int(x * (wide - 1))] = level
    strip = strip_of(grey, "x")
    assert (strip.dtype, strip.shape[0]) == (np.uint8, 40)
    assert strip.shape[1] >= 28


def test_folders_are_read_in_the_order_of_their_numbers(made) -> None:
    Path("scans").mkdir()
    for name in ("10.png", "9.PNG", "2.jpeg", "notes.txt"):
        path = Path("scans") / name
        path.write_text("") if name == "notes.txt" else page(name[0], 40, True).save(path)
    result = CliRunner().invoke(app, ["predict", "scans", "--digits-per-strip", "1"])
    assert result.exit_code == 0, result.output
    rows = [line.split(",") for line in result.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["scans/2.jpeg", "scans/9.PNG", "scans/10.png"]
    assert [row[3] for row in rows] == ["2", "9", "1"]


def test_npz_files_are_read_up_to_a_size(made, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed("one.npz", made.images)
    np.savez("two.npz", sums=made.sums, images=made.images[..., None])
    for name in ("one.npz", "two.npz"):
        (held,) = open_images([Path(name)])
        assert np.array_equal(held[3:9], made.images[3:9])
    monkeypatch.setattr(image_files, "MAX_UNPACKED", made.images.size)
    with pytest.raises(DataError, match=r"one\.npz unpacks to .* save its strips as"):
        open_images([Path("one.npz")])
    assert zipfile.is_zipfile("one.npz")


def test_pictures_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    page("1", 30, dark=True).save("page.png")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match=r"page\.png has 90 x 90 pixels, more than 100"):
        open_images([Path("page.png")])
    assert all(suffix.startswith(".") for suffix in SUFFIXES)


@pytest.mark.parametrize("back", [0, 2, 6, 12, 20, 25, 40, 110])
@pytest.mark.parametrize("ink", [255, 160, 90])
def test_a_picture_forty_rows_high_need_not_be_a_strip(
    reader: LoadedModel, back: int, ink: int
) -> None:
    strip = compose("builtin", 3, seed=5).images[1]
    picture = back + strip * ((ink - back) / 255)  # of ink darker than its background too
    made = strip_of(picture.astype(np.float32) / 255, "picture")
    if (back, ink) == (0, 255):
        np.testing.assert_array_equal(made, strip)  # pixel for pixel
    assert np.median(made) < 6
    assert made.max() > 150
    assert reader.predict(made[None]).sum[0] == reader.predict(strip[None]).sum[0]
