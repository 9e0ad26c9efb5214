"""Pictures of every format, of many pages, and with transparency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ok
from PIL import Image, TiffImagePlugin, features

from digitsum.datasets import pictures
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.image_files import open_image, open_images
from digitsum.datasets.pictures import FORMATS, SUFFIXES, grey_pages
from digitsum.datasets.synthesis import Composition
from digitsum.errors import DataError

NEEDED = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}  # what Pillow may lack


def page(strip: np.ndarray) -> Image.Image:
    """A strip on white paper, twice its size."""
    image = Image.fromarray(255 - strip)
    return image.resize((2 * image.width, 2 * image.height))


def rows(*args: object) -> list[list[str]]:
    return [line.split(",") for line in ok("predict", *args).stdout.splitlines()[1:]]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_under_any_name(made: Composition, format: str) -> None:
    if not features.check(NEEDED.get(format, "jpg")):
        pytest.skip(f"this Pillow has no {format}")
    image = page(made.images[0])
    expected = strip_of(np.asarray(image, np.float32) / 255, "page").astype(int)
    for name in ("page" + FORMATS[format][0], "page", "page.npy", "page.dat", "page.webp"):
        image.save(name, format=format)
        (opened,) = open_image(Path(name))
        got = opened[:][0].astype(int)
        assert np.abs(got - expected).mean() < 8, name


def test_no_format_starts_another_program() -> None:
    Path("evil.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(DataError, match=r"evil\.png is PostScript"):
        open_image(Path("evil.png"))
    assert not {"EPS", "PDF", "WMF", "MPEG", "FITS"} & set(FORMATS)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".tif", {}),
        (".tiff", {"compression": "tiff_lzw"}),
        (".gif", {}),
        (".png", {}),
        (".webp", {"lossless": True}),
    ],
)
def test_each_page_or_frame_is_a_strip(
    made: Composition, suffix: str, options: dict[str, Any]
) -> None:
    first, *others = (page(strip) for strip in made.images[:3])
    first.save(f"pages{suffix}", save_all=True, append_images=others, **options)
    for number, image in enumerate((first, *others)):
        image.save(f"{number}.png")
    got = rows(f"pages{suffix}", "--digits-per-strip", "2")
    alone = rows("0.png", "1.png", "2.png", "--digits-per-strip", "2")
    assert [row[:2] for row in got] == [[f"pages{suffix}", str(number)] for number in range(3)]
    assert [row[2:] for row in got] == [row[2:] for row in alone]


def test_pages_may_differ_in_size_and_are_counted_in_shards(made: Composition) -> None:
    wide = np.concatenate([made.images[1], made.images[2], made.images[3]], axis=1)
    sheets = [page(made.images[0]), page(wide), page(made.images[4]).resize((300, 140))]
    sheets[0].save("p.tif", save_all=True, append_images=sheets[1:])
    assert len({strips.shape[2] for strips in open_image(Path("p.tif"))}) > 1
    whole = rows("p.tif", "--digits-per-strip", "any")
    assert [row[1] for row in whole] == ["0", "1", "2"]
    parts = [ok("predict", "p.tif", "--digits-per-strip", "any", "--shard", f"{i}/3").stdout
             for i in (1, 2, 3)]  # fmt: skip
    assert [line.split(",") for line in "".join(parts).splitlines()[1:]] == whole


def test_reduced_copies_and_previews_are_no_pages(made: Composition) -> None:
    small = page(made.images[0]).resize((90, 40))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[pictures.SUBFILE_TYPE] = 1
    small.encoderinfo = {"tiffinfo": tags}
    page(made.images[0]).save("p.tif", save_all=True, append_images=[small])
    assert len(open_image(Path("p.tif"))) == 1
    page(made.images[0]).save("p.jpg", "MPO", save_all=True, append_images=[page(made.images[1])])
    result = ok("predict", "p.jpg", "--digits-per-strip", "2")
    assert len(result.stdout.splitlines()) == 2
    assert "read was only the first picture in p.jpg" in result.stderr


def test_all_pages_together_are_limited(made: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets = [page(strip) for strip in made.images[:3]]
    sheets[0].save("p.gif", save_all=True, append_images=sheets[1:])
    monkeypatch.setattr(pictures, "MAX_PAGES", 2)
    with pytest.raises(DataError, match=r"p\.gif has more than 2 pages: split it"):
        open_image(Path("p.gif"))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2 * 168 * 80 - 1)
    with pytest.raises(DataError, match=r"p\.gif has 26,880 pixels in 2 pages, more than 26,879"):
        open_image(Path("p.gif"))


@pytest.mark.parametrize("level", [0, 60, 150, 200, 255, (255, 255, 0), (0, 0, 160)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_ink_on_nothing_is_read_whatever_its_level(
    made: Composition, level: int | tuple[int, int, int], mode: str
) -> None:
    alpha = np.asarray(page(made.images[0]))
    ink = Image.new("RGB", alpha.shape[::-1], level if isinstance(level, tuple) else (level,) * 3)
    ink.putalpha(Image.fromarray(255 - alpha))
    ink.convert(mode).save("ink.png")
    got = strip_of(next(grey_pages(Path("ink.png"))), "ink")
    plain = strip_of(alpha.astype(np.float32) / 255, "page")
    assert np.abs(got.astype(int) - plain).mean() < 4


@pytest.mark.parametrize("dark", [True, False])
def test_a_page_with_transparent_edges_stands_on_its_own_level(
    made: Composition, dark: bool
) -> None:
    strip = np.asarray(page(made.images[0]))
    sheet = np.zeros((200, 300, 4), np.uint8)
    sheet[60:140, 60:228, :3] = (strip if dark else 255 - strip)[..., None]
    sheet[60:140, 60:228, 3] = 255
    Image.fromarray(sheet).save("sheet.png")
    got = strip_of(next(grey_pages(Path("sheet.png"))), "sheet")
    assert np.abs(got.astype(int) - strip_of(strip.astype(np.float32) / 255, "x")).mean() < 4


def test_nothing_at_all_is_blank() -> None:
    Image.new("RGBA", (90, 50)).save("none.png")
    (opened,) = open_images([Path("none.png")])
    assert not opened[:].any()


def test_pixels_that_are_no_numbers_are_refused() -> None:
    Image.fromarray(np.full((50, 90), np.nan, np.float32)).save("nan.tif")
    with pytest.raises(DataError, match=r"nan\.tif holds NaN"):
        open_image(Path("nan.tif"))
    assert len(SUFFIXES) == len(set(SUFFIXES))
