"""Strips from files that hold no sums: `.npy`, `.npz`, and pictures of any size.

A picture of digits side by side, dark on light or light on dark, becomes one strip: margins are
cut, digits are brought to the height that MNIST's have, and set in the middle of 40 rows. One that
is a strip already (40 rows, light on black) stays as it is, pixel for pixel. Photographs of paper,
with their shadows and lines, are beyond this.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.arrays import ImageFile, as_strips
from digitsum.datasets.folders import by_number, is_hidden, left_out
from digitsum.datasets.pictures import NAMES, SUFFIXES, grey_pages, is_picture
from digitsum.datasets.strips import FLAT_WIDTH, MIN_WIDTH, ROWS
from digitsum.errors import DataError
from digitsum.file_kinds import NPY, NPZ, PICTURE, first_bytes, obstacle, own_kind, recognized

DIGIT_ROWS = 20  # height of a digit of MNIST in pixels
MARGIN = 4  # pixels left free around all digits
MAX_WIDTH = 10_000  # of its strip, in pixels
MAX_UNPACKED = 1 << 30  # bytes of the arrays in a .npz
BLACK = 0.02  # grey level of a strip's background, at most: a JPEG's black is not quite black
FULL_CONTRAST = 0.5  # grey level that the digits of a strip reach
INK = 0.25  # of the contrast, above which a pixel is written on


@dataclass(frozen=True)
class InMemoryStrips:
    """Strips in memory that came from a file."""

    path: Path
    strips: NDArray[np.uint8]  # (N, 40, W)
    first: int = 0  # number of the first of them in the file

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
    files = [file for path in paths for file in files_of(path)[0]]
    return [opened for file in files for opened in open_image(file)]


def files_of(path: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder and a line about the rest of it; of anything else, itself.

    Raises:
        DataError: The folder holds no picture.
    """
    if not path.is_dir():
        return [path], []
    found = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not is_hidden(file) and not file.is_dir()
    ]
    if not found:
        raise DataError(
            f"{path} is a folder without pictures ({NAMES}): name .npy files one by one"
        )
    return sorted(found, key=by_number), left_out(path, found, f"pictures ({NAMES})")


def open_image(path: Path) -> list[ImageFile | InMemoryStrips]:
    """The strips of one file, whose content says what it is; of a picture, one for each page.

    Raises:
        DataError: It is missing or broken, or none that is read.
    """
    if reason := obstacle(path):
        raise DataError(f"{path} {reason}")
    suffix, kind = path.suffix.lower(), own_kind(first_bytes(path))
    if kind == NPY:
        return [ImageFile.open(path)]
    if kind == NPZ or suffix == ".npz":
        return [InMemoryStrips(path, _unpacked(path))]
    if suffix in SUFFIXES or is_picture(path):
        pages = enumerate(grey_pages(path))
        return [InMemoryStrips(path, strip_of(grey, path)[None], page) for page, grey in pages]
    if suffix == ".npy":
        return [ImageFile.open(path)]
    if other := recognized(path, PICTURE):
        raise DataError(f"{path} is {other}")
    raise DataError(f"{path} is no file of strips: give a .npy, a .npz, or a picture ({NAMES})")


def _unpacked(path: Path) -> NDArray[np.uint8]:
    """The strips in a `.npz`: its only array, or the one called `images`."""
    try:
        with open(path, "rb") as stream:  # once: what is checked is what is read
            with zipfile.ZipFile(stream) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_UNPACKED:
                raise DataError(
                    f"{path} unpacks to {size:,} bytes, more than {MAX_UNPACKED:,}: save its "
                    "strips as .npy, which is read in chunks"
                )
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                name = "images" if "images" in file.files else file.files[0]
                if len(file.files) > 1 and name != "images":
                    raise DataError(f"{path} holds {', '.join(file.files)}: call the strips images")
                stored = file[name]
    except DataError:
        raise
    except Exception as error:  # zip and NumPy raise many kinds
        if kind := recognized(path, NPZ):
            raise DataError(f"{path} is {kind}") from error
        raise DataError(
            f"{path} is not a readable .npz ({type(error).__name__}): save it with numpy.savez"
        ) from error
    return as_strips(stored, str(path))


def strip_of(grey: NDArray[np.float32], path: Path | str) -> NDArray[np.uint8]:
    """The strip (40, W) in grey levels (H, W) 0..1; `path` is for messages.

    Raises:
        DataError: The digits do not fit into a strip, however they are scaled.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    back = float(np.median(edge))
    is_strip = len(grey) == ROWS and grey.shape[1] >= MIN_WIDTH
    if is_strip and back < BLACK and grey.max() >= FULL_CONTRAST:
        return np.rint(255 * grey).astype(np.uint8)
    light_ink = back < 0.5 and grey.max() - back >= back - grey.min()
    level = grey - back if light_ink else back - grey
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
