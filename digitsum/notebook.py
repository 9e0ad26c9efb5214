"""Readings as HTML: what a notebook shows of them."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray

from digitsum.readings import Readings, said

SHOWN = 20  # readings that are shown, at the most


def table(readings: Readings) -> str:
    """The first `SHOWN` readings, one a row, each beside its strip where strips were kept."""
    rows = []
    for i in range(min(len(readings), SHOWN)):
        cells = [str(i), escape(said(readings, i))]
        if readings.strips is not None:
            height = readings.strips.shape[1]
            source = png(readings.strips[i])
            cells.insert(1, f'<img src="{source}" alt="strip {i}" height="{height}">')
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = f"<p>and {left:,} more</p>" if (left := len(readings) - SHOWN) > 0 else ""
    return f"<table>{''.join(rows)}</table>{more}"


def png(picture: NDArray[np.uint8]) -> str:
    """A picture, (H, W) grey or (H, W, 3) colour, as a data URI of a PNG."""
    from PIL import Image

    Image.fromarray(picture).save(stream := io.BytesIO(), "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
