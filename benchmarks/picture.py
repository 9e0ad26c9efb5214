"""Draws strips with what models read in them, as the README shows them.

Usage: python benchmarks/picture.py docs/strips.png reader --data mnist-test
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from digitsum.cli import options
from digitsum.datasets import open_data
from digitsum.inference import load_model
from digitsum.readings import Readings

SCALE = 2  # pixels for a pixel of the strip
LINE = 26  # height of a line of text below a strip
PAD = 12
RIGHT, WRONG, PLAIN = (110, 200, 130), (235, 120, 110), (225, 225, 230)


def picture(
    out: Annotated[Path, typer.Argument(help="The .png to write.")],
    models: Annotated[list[Path], typer.Argument(help="Checkpoints.")],
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
    count: Annotated[int, typer.Option(help="Strips, the first ones.")] = 6,
    across: Annotated[int, typer.Option(help="Strips side by side.")] = 2,
) -> None:
    strips = open_data(data or ["builtin"], None, mnist_root)
    images = next(strips.chunks())[:count]
    loaded = [load_model(path) for path in models]
    read = {model.arch: model.read(images, model.recipe.digits_per_strip) for model in loaded}

    width, height = strips.width * SCALE, 40 * SCALE
    cell_w, cell_h = width + 2 * PAD, height + LINE + 2 * PAD
    rows = -(-count // across)
    sheet = Image.new("RGB", (cell_w * across, cell_h * rows), (24, 24, 28))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for i, image in enumerate(images):
        x, y = (i % across) * cell_w + PAD, (i // across) * cell_h + PAD
        strip = Image.fromarray(np.asarray(image)).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(strip.convert("RGB"), (x, y))
        truth = int(strips.sums[i])
        parts = [(f"sum {truth}", PLAIN)]
        for arch, readings in read.items():
            color = RIGHT if readings.sum[i] == truth else WRONG
            parts.append((f"{arch}: {said(readings, i)}", color))
        for text, color in parts:
            draw.text((x, y + height + 3), text, fill=color, font=font)
            x += int(draw.textlength(text, font=font)) + 18
    sheet.save(out, optimize=True)


def said(readings: Readings, i: int) -> str:
    """`3 + 5 = 8, 99.1%` of a model that tells digits, else `8 (7.93)`: sum and value."""
    if readings.digits is None or readings.confidence is None:
        return f"{readings.sum[i]} ({readings.value[i]:.2f})"
    digits = " + ".join(str(digit) for digit in readings.digits[i] if digit >= 0)
    return f"{digits} = {readings.sum[i]}, {100 * readings.confidence[i]:.1f}%"


if __name__ == "__main__":
    typer.run(picture)
