"""Pictures as grey levels, page by page: what Pillow reads by itself, found by its content."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitsum.errors import DataError, InstallationError
from digitsum.file_kinds import PICTURE, UnreadableFileError, open_regular, recognized

if TYPE_CHECKING:
    from PIL import Image

# Only these: for others, such as EPS, Pillow starts programs that run what the file says.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".pgm", ".ppm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
NAMES = "PNG, JPEG, TIFF, BMP, GIF, WebP, PGM, JPEG 2000, AVIF"
MAX_PIXELS = 50_000_000  # of all pages of a picture
MAX_MEMORY = 180_000_000  # bytes that a page takes, at most, besides twice what its file has
BAND = 1 << 20  # pixels that are looked at together
MAX_PAGES = 1_000
MAX_SIDE = 200_000  # pixels in a row or a column
SUBFILE_TYPE = 254  # tag of a page of a TIFF; its bits: 1 a reduced copy, 4 a mask
OPAQUE_PAGE = 0.6  # share of the pixels that are visible, above which they are no mere ink


def is_picture(path: Path) -> bool:
    """Whether the content of a file is of one of the formats, broken or not."""
    _require_pillow()
    from PIL import UnidentifiedImageError

    try:
        with _opened(path):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # it is of a format, and broken or too large
        return True


def grey_pages(path: Path) -> Generator[NDArray[Any], None, None]:
    """Grey levels (H, W) of each page of a picture, or frame of an animation, upright.

    They are uint8 or uint16, white the largest that these hold. Ink on nothing stands on what
    contrasts with it. Of a JPEG only the first picture is given: the others in such a file show the
    same, as a preview or as a map of its brightness or depth. So do the reduced copies of a page in
    a TIFF.

    Raises:
        DataError: The file is missing, broken, too large, or of no format that is read.
        InstallationError: Pillow is missing.
    """
    _require_pillow()
    with _one_line(path), _opened(path) as (image, size):
        pixels = 0
        for number, page in enumerate(_pages(image), 1):
            pixels += page.width * page.height
            _check_size(path, page, number, pixels)
            _check_memory(path, page, size)
            yield _grey(page, path)


def colour_page(path: Path) -> Image.Image:
    """The first page of a picture in colour, upright, as `grey_pages` has it in grey.

    Raises:
        DataError: See `grey_pages`.
    """
    from PIL import Image, ImageOps

    with _one_line(path), _opened(path) as (image, size):
        _check_colour(path, image, size)
        if not _is_grey(image):
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image if image.mode == "RGB" else image.convert("RGB")
    pages = grey_pages(path)
    grey = next(pages)  # as it was read
    pages.close()
    levels = grey if grey.dtype == np.uint8 else (grey >> 8).astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def colour_size(path: Path) -> tuple[int, int]:
    """Width and height of what `colour_page` would give, or its turn; nothing is decoded.

    Raises:
        DataError: See `grey_pages`; or it would take too much memory.
    """
    with _one_line(path), _opened(path) as (image, size):
        _check_colour(path, image, size)
        return image.size


def _is_grey(page: Image.Image) -> bool:
    """Whether it is drawn into in grey: where it is of 16 bits and more, or transparent."""
    deep = page.mode.startswith(("I", "F"))
    return deep or "A" in page.mode.upper() or "transparency" in page.info


def _check_colour(path: Path, page: Image.Image, size: int) -> None:
    """Refuses a page that takes too much memory in colour, before it is decoded."""
    _check_size(path, page, 1, page.width * page.height)
    own = _own_bytes(page)
    turned = own if page.getexif() or page.format not in ("JPEG", "MPO") else 0
    drawn = max(own + max(turned, 0 if page.mode == "RGB" else 4), own + _decoder_bytes(page))
    needed = page.width * page.height * (max(_bytes_a_pixel(page), 10) if _is_grey(page) else drawn)
    if needed > (most := MAX_MEMORY + 2 * size):
        raise DataError(
            f"{path} takes {needed:,} bytes to draw into ({page.width:,} x {page.height:,} "
            f"pixels, {page.format}, {page.mode}), more than {most:,}: make it smaller"
        )


def is_multi_picture(path: Path) -> bool:
    """Whether a file is a JPEG with several pictures in it, of which the first is read."""
    try:
        with _opened(path) as (image, _):
            return image.format == "MPO" and getattr(image, "n_frames", 1) > 1
    except Exception:
        return False


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise InstallationError("pictures need Pillow: pip install pillow") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """A picture that is not decoded yet, and the bytes of its file.

    Pillow gets the open file rather than its name: it maps files that it knows by name.
    """
    from PIL import Image

    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with open_regular(path) as stream, Image.open(stream, formats=formats) as image:
        yield image, os.fstat(stream.fileno()).st_size


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """The image itself, at one page after the other."""
    from PIL import ImageSequence

    for number, page in enumerate(itertools.islice(ImageSequence.Iterator(image), 3 * MAX_PAGES)):
        tags: Any = getattr(page, "tag_v2", {})
        if number and int(tags.get(SUBFILE_TYPE, 0)) & 0b101:
            continue
        yield page
        if image.format == "MPO":
            return


def _check_size(path: Path, page: Image.Image, number: int, pixels: int) -> None:
    if number > MAX_PAGES:
        raise DataError(f"{path} has more than {MAX_PAGES:,} pages: split it")
    if max(page.size) > MAX_SIDE:
        raise DataError(
            f"{path} has {page.width:,} x {page.height:,} pixels, more than {MAX_SIDE:,} in a row "
            "or a column: cut it into pieces"
        )
    if pixels > MAX_PIXELS:
        seen = f"{page.width:,} x {page.height:,}" if number == 1 else f"{pixels:,}"
        where, what = (
            ("", "make it smaller") if number == 1 else (f" in {number} pages", "split it")
        )
        raise DataError(f"{path} has {seen} pixels{where}, more than {MAX_PIXELS:,}: {what}")


def _check_memory(path: Path, page: Image.Image, size: int) -> None:
    """Refuses a page that takes too much memory, before it is decoded."""
    if page.format in ("JPEG", "MPO"):
        page.draft("L", page.size)  # decoded as grey
    needed, most = page.width * page.height * _bytes_a_pixel(page), MAX_MEMORY + 2 * size
    if needed > most:
        seen = f"{page.width:,} x {page.height:,} pixels, {page.format}, {page.mode}"
        raise DataError(
            f"{path} takes {needed:,} bytes to open ({seen}), more than {most:,}: make it smaller, "
            "or save it as a grey PNG"
        )


def _bytes_a_pixel(page: Image.Image) -> int:
    """What a page takes at the most while it is decoded and made a strip, as measured."""
    own = _own_bytes(page)
    deep = page.mode.startswith(("I", "F"))
    levels = 3 if deep or own == 4 else 2  # and which of them are written, or a turned page
    return own + levels + _decoder_bytes(page)


def _is_moving(page: Image.Image) -> bool:
    return page.format in ("PNG", "GIF") and getattr(page, "is_animated", False)


def _own_bytes(page: Image.Image) -> int:
    """What a pixel takes once it is decoded."""
    if _is_moving(page):
        return 4
    return 1 if page.mode in ("1", "L", "P") else 2 if ";16" in page.mode else 4


def _decoder_bytes(page: Image.Image) -> int:
    """What it takes besides, while it is decoded."""
    passes = 6 * ("progressive" in page.info)
    decoder = {"WEBP": 9 + 3 * ("A" in page.mode), "JPEG2000": 5 * len(page.getbands()), "AVIF": 6,
               "TIFF": _own_bytes(page) - 1, "JPEG": passes, "MPO": passes}  # fmt: skip
    return decoder.get(page.format or "", 7 * _is_moving(page))


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Errors of Pillow, which raises many kinds on broken files, as one kind and in one line."""
    from PIL import Image

    try:
        yield
    except DataError:
        raise
    except UnreadableFileError as error:
        raise DataError(f"{path} {error.reason}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        seen = re.search(r"\d+", str(error))
        count = f"{int(seen[0]):,}" if seen else "too many"
        raise DataError(
            f"{path} has {count} pixels, more than {MAX_PIXELS:,}: make it smaller"
        ) from error
    except Exception as error:
        if kind := recognized(path, PICTURE):
            raise DataError(f"{path} is {kind}") from error
        raise DataError(
            f"{path} is not a readable picture ({type(error).__name__}): save it again as PNG"
        ) from error


def _grey(page: Image.Image, path: Path) -> NDArray[Any]:
    """Grey levels (H, W) of one page, uint8 or uint16, upright."""
    from PIL import ExifTags

    page.load()  # what a file says of its orientation may follow the pixels
    turn: Turn = UPRIGHT.get(page.getexif().get(ExifTags.Base.Orientation), np.asarray)
    if page.mode.startswith(("I", "F")):  # 16 bits and more
        return turn(_deep(page, path))
    if page.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in page.info:
        return turn(_on_contrast(page))
    return turn(_opaque(page))


Turn = Callable[[NDArray[Any]], NDArray[Any]]
UPRIGHT: dict[Any, Turn] = {  # by the tag of orientation
    2: np.fliplr,
    3: lambda grey: grey[::-1, ::-1],
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: grey[::-1, ::-1].T,
    8: np.rot90,
}


def _bands(page: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """A page in pieces of some rows each: a whole one in another form takes as much once more."""
    high = max(1, BAND // page.width)
    for top in range(0, page.height, high):
        rows = slice(top, min(top + high, page.height))
        band = page.crop((0, rows.start, page.width, rows.stop))
        if "transparency" in page.info:
            band.info["transparency"] = page.info["transparency"]
        yield rows, band


def _opaque(page: Image.Image) -> NDArray[np.uint8]:
    """Grey levels of a page of 8 bits without transparency."""
    grey = np.empty((page.height, page.width), np.uint8)
    for rows, band in _bands(page):
        grey[rows] = np.asarray(band.convert("L"))
    return grey


def _deep(page: Image.Image, path: Path) -> NDArray[np.uint16]:
    """Grey levels of a page of 16 bits and more, its lightest pixel white."""
    low, high = 0.0, 1e-9
    for _, band in _bands(page):
        pixels = np.asarray(band, np.float32)
        if not np.isfinite(pixels).all():
            raise DataError(f"{path} holds NaN or infinite pixels: replace them")
        low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
    grey = np.empty((page.height, page.width), np.uint16)
    for rows, band in _bands(page):
        grey[rows] = np.rint((np.asarray(band, np.float64) - low) * (65535 / (high - low)))
    return grey


def _on_contrast(page: Image.Image) -> NDArray[np.uint8]:
    """A page with transparency, in grey on an opaque ground.

    A page with transparent edges stands on its own most frequent level. Ink of one level, which
    would vanish there, stands on white if it is dark and on black if it is light.
    """
    grey, alpha = np.empty((2, page.height, page.width), np.uint8)
    for rows, band in _bands(page):
        pixels = np.asarray(band.convert("RGBA").convert("LA"))
        grey[rows], alpha[rows] = pixels[..., 0], pixels[..., 1]
    least = max(1, int(alpha.max()) / 2)  # of the alpha of what is called visible
    counts = sum(
        np.bincount(row[seen >= least], minlength=256)
        for row, seen in zip(grey, alpha, strict=True)
    )
    visible = int(np.sum(counts))
    share = np.cumsum(counts) / max(visible, 1)
    dark, middle, light = (int(np.searchsorted(share, part)) for part in (0.002, 0.5, 0.998))
    is_page = light - dark >= 128 or visible > OPAQUE_PAGE * grey.size
    ground = middle if is_page else 255 * (middle < 128)
    for row, seen in zip(grey, alpha, strict=True):
        row[:] = np.rint(ground + (row.astype(np.float32) - ground) * (seen / 255))
    return grey
