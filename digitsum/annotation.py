"""A picture with its lines, their digits and their sums drawn into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitsum.datasets.pictures import colour_page
from digitsum.file_predictor import FilePredictions

if TYPE_CHECKING:
    from PIL import Image

INK, SURE, UNSURE = (200, 30, 30), (20, 130, 60), (220, 120, 0)
CONFIDENT = 0.9  # probability of a sum from which its line is drawn as sure
LARGEST = 200  # pixels that a text is high, at most


def annotated(path: Path, chunks: Sequence[FilePredictions]) -> Image.Image:
    """The first page of a picture with what was read on it.

    A line on a photograph gets a box, its digits above their places, and its sum behind it; what
    was not read in it, though it may be a digit, gets a red box. Of a drawing, which is one
    line, the digits and the sum stand in a corner.

    Args:
        path: The picture.
        chunks: What was read on it.
    """
    from PIL import ImageDraw

    image = colour_page(path)
    pen = ImageDraw.Draw(image)
    for chunk in chunks:
        if chunk.start == 0:
            _draw_line(pen, image.width, chunk)
    return image


def _draw_line(pen: Any, width: int, chunk: FilePredictions) -> None:
    prediction = chunk.predictions[0]
    sure = prediction.probability is None or prediction.probability >= CONFIDENT
    colour = SURE if sure and not chunk.unread else UNSURE
    digits = prediction.digits or []
    if chunk.box is None:
        text = f"{' '.join(map(str, digits))} = {prediction.sum}".lstrip()
        size = max(14, min(width // 30, 2 * width // len(text), LARGEST))
        pen.text((4, 4), text[: 4 * width // size], fill=colour, font=_font(size))
        return
    left, top, right, bottom = chunk.box
    size = max(12, min(round(0.35 * (bottom - top)), LARGEST))
    thick, pad = max(1, size // 12), size // 4
    pen.rectangle((left - pad, top - pad, right + pad, bottom + pad), outline=colour, width=thick)
    for x0, y0, x1, y1 in chunk.unread:
        pen.rectangle((x0 - pad, y0 - pad, x1 + pad, y1 + pad), outline=INK, width=thick)
    font = _font(size)
    for digit, column in zip(digits, prediction.positions or [], strict=False):
        if chunk.places is not None:
            x = float(chunk.places[min(column, len(chunk.places) - 1), 0])
            pen.text((x, top - pad), str(digit), fill=INK, font=font, anchor="lb")
    text = f"= {prediction.sum}"
    room = pen.textlength(text, font=font)
    at = min(right + 2 * pad, width - room)
    pen.text((at, bottom + pad), text, fill=colour, font=font, anchor="lb")


def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except (TypeError, OSError):  # an older Pillow, or one without FreeType, has one size
        return ImageFont.load_default()
