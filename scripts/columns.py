"""Draws a strip with the probabilities of each of its columns, as docs/reader.md shows it.

Usage: python scripts/columns.py docs/columns.png reader --data mnist-test --row 7
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
from digitsum.datasets.strips import ROWS
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
    row: Annotated[int, typer.Option(help="Number of the strip, from 0.")] = 0,
) -> None:
    """Draws a strip with the probabilities of each of its columns."""
    strips = open_data(data or "builtin", None, mnist_root)
    image = strips.images()[row : row + 1]
    loaded = load_model(model, precision="fp32")
    with torch.inference_mode():
        outputs = loaded.module(loaded.device.normalize(torch.from_numpy(image)))
        found = loaded.module.column_probabilities(outputs)
    if found is None:
        raise SystemExit(f"{model} gives no probabilities of columns: name a reader")
    probs = found[0].cpu().numpy()  # (T, 11)

    width, height = strips.width * SCALE, ROWS * SCALE
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
    text = f"prediction: {loaded.predict(image)[0]}; true sum: {strips.sums[row]}"
    pen.text((LEFT, top + 10 * CELL + 8), text, fill=INK, font=font)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    typer.run(draw)
