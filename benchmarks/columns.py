"""Draws a strip with what a reader says of each of its columns, as docs/reader.md shows it.

Usage: python benchmarks/columns.py docs/columns.png reader --data mnist-test --row 7
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw, ImageFont

from digitsum.cli import options
from digitsum.datasets import open_data
from digitsum.inference import load_model

SCALE = 6  # pixels for a pixel of the strip
CELL = 20  # height of a row of probabilities
LEFT, PAD, LINE = 40, 14, 30
BACK, INK, DIM = (24, 24, 28), (225, 225, 230), (130, 130, 140)
LOW, HIGH = np.array([38, 38, 46]), np.array([255, 196, 84])


def draw(
    out: Annotated[Path, typer.Argument(help="The .png to write.")],
    model: Annotated[Path, typer.Argument(help="A reader's checkpoint, or reader.")],
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
    row: Annotated[int, typer.Option(help="Which strip.")] = 0,
) -> None:
    strips = open_data(data or ["builtin"], None, mnist_root)
    image = strips.images()[row : row + 1]
    loaded = load_model(model, precision="fp32")
    with torch.inference_mode():
        probs = loaded.module(loaded.compute.strips(torch.from_numpy(image)))[0].exp().cpu().numpy()
    readings = loaded.read(image, loaded.recipe.digits_per_strip)
    assert readings.digits is not None
    assert readings.confidence is not None

    width, height = strips.width * SCALE, 40 * SCALE
    sheet = Image.new("RGB", (LEFT + width + PAD, height + 10 * CELL + 2 * LINE + 2 * PAD), BACK)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    strip = Image.fromarray(image[0]).resize((width, height), Image.Resampling.NEAREST)
    sheet.paste(strip.convert("RGB"), (LEFT, PAD))
    top, wide = PAD + height + 8, width / len(probs)
    for digit in range(10):
        y = top + digit * CELL
        pen.text((LEFT - 22, y), str(digit), fill=DIM, font=font)
        for t, p in enumerate(probs[:, 1 + digit]):
            color = tuple((LOW + (HIGH - LOW) * float(p)).astype(int).tolist())
            box = (LEFT + t * wide, y, LEFT + (t + 1) * wide - 2, y + CELL - 2)
            pen.rectangle(box, fill=color)
    read = " + ".join(str(d) for d in readings.digits[0] if d >= 0)
    text = f"read {read} = {readings.sum[0]}, probability {readings.confidence[0]:.4f}"
    text += f"; the strip's label is {strips.sums[row]}"
    pen.text((LEFT, top + 10 * CELL + 8), text, fill=INK, font=font)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    typer.run(draw)
