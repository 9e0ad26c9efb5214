"""Pictures as grey levels, page by page: what Pillow reads by itself, found by its content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitsum.errors import DataError, InstallationError
from digitsum.file_kinds import PICTURE, obstacle, recognized

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
MAX_PAGES = 1_000
SUBFILE_TYPE = 254  # tag of a page of a TIFF; its bits: 1 a reduced copy, 4 a mask
OPAQUE_PAGE = 0.6  # share of the pixels that are visible, above which they are no mere ink


def is_picture(path: Path) -> bool:
    """Whether the content of a file is of one of the formats, broken or not."""
    _require_pillow()
    from PIL import UnidentifiedImageError

    try:
        _open(path).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # it is of a format, and broken or too large
        return True
    return True


def grey_pages(path: Path) -> Iterator[NDArray[np.float32]]:
    """Grey levels (H, W) in 0..1 of each page of a picture, or frame of an animation, upright.

    Ink on nothing stands on what contrasts with it. Of a JPEG only the first picture is given: the
    others in such a file show the same, as a preview or as a map of its brightness or depth. So do
    the reduced copies of a page in a TIFF.

    Raises:
        DataError: The file is missing, broken, too large, or of no format that is read.
        InstallationError: Pillow is missing.
    """
    if reason := obstacle(path):
        raise DataError(f"{path} {reason}")
    _require_pillow()
    with _one_line(path), _open(path) as image:
        pixels = 0
        for number, page in enumerate(_pages(image), 1):
            pixels += page.width * page.height
            _check_size(path, page, number, pixels)
            yield _grey(page, path)


def is_multi_picture(path: Path) -> bool:
    """Whether a file is a JPEG with several pictures in it, of which the first is read."""
    try:
        with _open(path) as image:
            return image.format == "MPO" and getattr(image, "n_frames", 1) > 1
    except Exception:
        return False


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise InstallationError("pictures need Pillow: pip install pillow") from error


def _open(path: Path) -> Image.Image:
    from PIL import Image

    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """The image itself, at one page after the other."""
    from PIL import ImageSequence

    for number, page in enumerate(ImageSequence.Iterator(image)):
        tags: Any = getattr(page, "tag_v2", {})
        if number and int(tags.get(SUBFILE_TYPE, 0)) & 0b101:
            continue
        yield page
        if image.format == "MPO":
            return


def _check_size(path: Path, page: Image.Image, number: int, pixels: int) -> None:
    if number > MAX_PAGES:
        raise DataError(f"{path} has more than {MAX_PAGES:,} pages: split it")
    if pixels > MAX_PIXELS:
        seen = f"{page.width:,} x {page.height:,}" if number == 1 else f"{pixels:,}"
        where, what = (
            ("", "make it smaller") if number == 1 else (f" in {number} pages", "split it")
        )
        raise DataError(f"{path} has {seen} pixels{where}, more than {MAX_PIXELS:,}: {what}")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Errors of Pillow, which raises many kinds on broken files, as one kind and in one line."""
    from PIL import Image

    try:
        yield
    except DataError:
        raise
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


def _grey(page: Image.Image, path: Path) -> NDArray[np.float32]:
    """Grey levels (H, W) of one page."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(page)
    if image.mode.startswith(("I", "F")):  # 16 bits and more
        deep = np.asarray(image, np.float32)
        if not np.isfinite(deep).all():
            raise DataError(f"{path} holds NaN or infinite pixels: replace them")
        return np.asarray(deep / max(float(deep.max()), 1e-9), np.float32)
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        image = _on_contrast(image)
    return np.asarray(image.convert("L"), np.float32) / np.float32(255)


def _on_contrast(image: Image.Image) -> Image.Image:
    """A picture with transparency, in grey on an opaque ground.

    A page with transparent edges stands on its own most frequent level. Ink of one level, which
    would vanish there, stands on white if it is dark and on black if it is light.
    """
    from PIL import Image

    grey, alpha = image.convert("RGBA").convert("LA").split()
    least = max(1, int(np.asarray(alpha).max()) / 2)  # of the alpha of what is called visible
    counts = grey.histogram(alpha.point(lambda level: 255 if level >= least else 0))
    visible = sum(counts)
    share = np.cumsum(counts) / max(visible, 1)
    dark, middle, light = (int(np.searchsorted(share, part)) for part in (0.002, 0.5, 0.998))
    is_page = light - dark >= 128 or visible > OPAQUE_PAGE * grey.width * grey.height
    ground = middle if is_page else 255 * (middle < 128)
    return Image.composite(grey, Image.new("L", grey.size, ground), alpha)
