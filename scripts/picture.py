"""Draws strips with the predictions of one or more models, as the README shows them.

Usage: python scripts/picture.py docs/strips.png reader --data mnist-test
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from digitsum.cli import options
from digitsum.datasets import open_data
from digitsum.datasets.strips import ROWS
from digitsum.inference import load_model

SCALE = 2  # pixels for a pixel of the strip
LINE = 26  # height of a line of text below a strip
PAD = 12
RIGHT, WRONG, PLAIN = (110, 200, 130), (235, 120, 110), (225, 225, 230)


def picture(
    out: Annotated[Path, typer.Argument(help="The .png to write.")],
    models: Annotated[list[Path], typer.Argument(help="Checkpoints, or reader.")],
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
    count: Annotated[int, typer.Option(help="How many strips to draw, from the first on.")] = 6,
    across: Annotated[int, typer.Option(help="Strips side by side.")] = 2,
) -> None:
    """Draws strips with the predictions of one or more models."""
    strips = open_data(data or "builtin", None, mnist_root)
    images = next(strips.chunks())[:count]
    loaded = [load_model(path) for path in models]
    predictions = {model.arch: model.predict(images) for model in loaded}

    width, height = strips.width * SCALE, ROWS * SCALE
    single = len(loaded) == 1  # then its prediction stands beside the sum, else each below
    lines = 1 if single else 1 + len(loaded)
    cell_w, cell_h = width + 2 * PAD, height + LINE * lines + 2 * PAD
    rows = -(-count // across)
    sheet = Image.new("RGB", (cell_w * across, cell_h * rows), (24, 24, 28))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for i, image in enumerate(images):
        x, y = (i % across) * cell_w + PAD, (i // across) * cell_h + PAD
        strip = Image.fromarray(np.asarray(image)).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(strip.convert("RGB"), (x, y))
        truth, y = int(strips.sums[i]), y + height + 3
        draw.text((x, y), f"sum {truth}", fill=PLAIN, font=font)
        for line, (arch, of_model) in enumerate(predictions.items(), 1):
            color = RIGHT if of_model.sum[i] == truth else WRONG
            if single:
                draw.text((x + 70, y), str(of_model[i]), fill=color, font=font)
            else:
                draw.text((x, y + line * LINE), f"{arch}: {of_model[i]}", fill=color, font=font)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    typer.run(picture)
