"""Strips from files that hold no sums: `.npy`, `.npz`, and pictures of any size.

A picture of digits side by side, dark on light or light on dark, becomes one strip: margins are
cut, digits are brought to the height that MNIST's have, and set in the middle of 40 rows. One that
is a strip already (40 rows, light on black) stays as it is, pixel for pixel. Photographs of paper,
with their shadows and lines, are beyond this.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ImageFile, as_strips
from digitsum.datasets.strips import FLAT_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError, InstallationError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DIGIT_ROWS = 20  # height of a digit of MNIST in pixels
MARGIN = 4  # pixels left free around all digits
MAX_PIXELS = 50_000_000  # of a picture
MAX_WIDTH = 10_000  # of its strip, in pixels
MAX_UNPACKED = 1 << 30  # bytes of the arrays in a .npz
INK = 0.25  # of the contrast, above which a pixel is written on


@dataclass(frozen=True)
class InMemoryStrips:
    """Strips in memory that came from a file."""

    path: Path
    strips: NDArray[np.uint8]  # (N, 40, W)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 40, W)."""
        return self.strips.shape

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        return self.strips[rows]


def open_images(paths: Sequence[Path]) -> list[ImageFile | InMemoryStrips]:
    """Strips of `.npy` and `.npz` files, of pictures, and of folders of pictures, in order.

    Raises:
        DataError: A file is missing or broken, or a folder holds no picture.
    """
    opened: list[ImageFile | InMemoryStrips] = []
    for path in paths:
        files = _pictures_in(path) if path.is_dir() else [path]
        opened += [_open(file) for file in files]
    return opened


def _open(path: Path) -> ImageFile | InMemoryStrips:
    if path.suffix.lower() in SUFFIXES:
        return InMemoryStrips(path, strip_of(_grey(path), path)[None])
    if path.suffix.lower() == ".npz":
        return InMemoryStrips(path, _unpacked(path))
    return ImageFile.open(path)


def _pictures_in(folder: Path) -> list[Path]:
    """Its pictures, `2.png` before `10.png`."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(
            f"{folder} is a folder without pictures ({', '.join(SUFFIXES)}): name .npy files one "
            "by one"
        )
    return sorted(found, key=_by_number)


def _by_number(path: Path) -> list[tuple[int, str]]:
    runs = re.findall(r"\d+|\D+", path.name)
    return [(int(run), "") if run.isdecimal() else (-1, run) for run in runs]


def _unpacked(path: Path) -> NDArray[np.uint8]:
    """The strips in a `.npz`: its only array, or the one called `images`."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_UNPACKED:
            raise DataError(
                f"{path} unpacks to {size:,} bytes, more than {MAX_UNPACKED:,}: save its strips as "
                ".npy, which is read in chunks"
            )
        with np.load(path, allow_pickle=False) as file:
            name = "images" if "images" in file.files else file.files[0]
            if len(file.files) > 1 and name != "images":
                raise DataError(f"{path} holds {', '.join(file.files)}: call the strips images")
            stored = file[name]
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except Exception as error:  # zip and NumPy raise many kinds
        raise DataError(
            f"{path} is not a readable .npz ({type(error).__name__}): save it with numpy.savez"
        ) from error
    return as_strips(stored, str(path))


def _grey(path: Path) -> NDArray[np.float32]:
    """A picture as grey levels (H, W) in 0..1, upright; what is transparent becomes white."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise InstallationError("pictures need Pillow: pip install pillow") from error
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DataError(
                    f"{path} has {opened.width:,} x {opened.height:,} pixels, more than "
                    f"{MAX_PIXELS:,}: make it smaller"
                )
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):  # 16 bits and more
                deep = np.asarray(image, np.float32)
                return np.asarray(deep / max(float(deep.max()), 1e-9), np.float32)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return np.asarray(image.convert("L"), np.float32) / np.float32(255)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except Exception as error:  # Pillow raises many kinds on broken files
        raise DataError(
            f"{path} is not a readable picture ({type(error).__name__}): save it again as PNG"
        ) from error


def strip_of(grey: NDArray[np.float32], path: Path | str) -> NDArray[np.uint8]:
    """The strip (40, W) in grey levels (H, W) 0..1; `path` is for messages.

    Raises:
        DataError: The digits do not fit into a strip, however they are scaled.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    back = float(np.median(edge))
    if len(grey) == ROWS and grey.shape[1] >= MIN_WIDTH and back < 0.1:
        return np.rint(255 * grey).astype(np.uint8)
    level = grey - back if back < 0.5 else back - grey
    level = np.clip(level / max(float(level.max()), 0.05), 0, 1)  # an empty page stays empty
    written = level > INK
    rows, columns = np.flatnonzero(written.any(1)), np.flatnonzero(written.any(0))
    if not len(rows):
        return np.zeros((ROWS, FLAT_WIDTH), np.uint8)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = DIGIT_ROWS / _digit_height(written[:, left:right])
    scale = min(scale, (ROWS - 4) / (bottom - top))
    high = max(1, round((bottom - top) * scale))
    wide = max(1, round((right - left) * scale))
    if wide + 2 * MARGIN > MAX_WIDTH:
        raise DataError(f"{path} would be a strip {wide} pixels wide: cut it into pieces")
    strip = np.zeros((ROWS, max(FLAT_WIDTH, wide + 2 * MARGIN)), np.uint8)
    at = (ROWS - high) // 2
    strip[at : at + high, MARGIN : MARGIN + wide] = _resized(
        level[top:bottom, left:right], high, wide
    )
    return strip


def _digit_height(written: NDArray[np.bool_]) -> float:
    """Median height of what is written between empty columns of (H, W)."""
    gaps = np.flatnonzero(np.diff(written.any(0).astype(int)))
    heights = []
    for piece in np.split(written, gaps + 1, axis=1):
        rows = np.flatnonzero(piece.any(1))
        if len(rows):
            heights.append(rows[-1] + 1 - rows[0])
    tall = [height for height in heights if height > 0.4 * max(heights)]  # not dots and specks
    return float(np.median(tall))


def _resized(level: NDArray[np.float32], high: int, wide: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(np.rint(255 * level).astype(np.uint8))
    return np.asarray(image.resize((wide, high), Image.Resampling.BICUBIC))
