"""Strips drawn on stdout: half blocks in grey, or characters where there is no colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text
from torch.nn import functional as F

from digitsum.cli.display import stdout
from digitsum.display import on_one_line
from digitsum.evaluation.scoring import MisreadStrip
from digitsum.file_predictor import FilePredictions
from digitsum.predictions import Prediction

MAX_CHARACTERS = 100  # of a terminal's width that a strip takes
SHADES = " .:-=+*#%@"


def show_predictions(chunk: FilePredictions) -> None:
    """Draws strips of a file, each with its prediction below."""
    for i, prediction in enumerate(chunk.predictions, chunk.start):
        stdout.print(on_one_line(f"{chunk.file}, strip {i}"))
        _show(prediction)


def show_error(error: MisreadStrip) -> None:
    """Draws a strip whose sum is wrong, with the true one and the prediction."""
    stdout.print(f"strip {error.row}: the truth is {error.truth_in_words}")
    _show(replace(error.prediction, strip=error.strip))


def _show(prediction: Prediction) -> None:
    strip = prediction.strip
    assert strip is not None
    width = min(stdout.width, MAX_CHARACTERS, strip.shape[1])
    colour = stdout.color_system is not None and not stdout.no_color
    colour &= not stdout.options.ascii_only  # which has no half blocks
    stdout.print(render_strip(strip, width, colour))
    if prediction.digits is not None and prediction.positions is not None:
        scale = width / strip.shape[1]
        stdout.print(_below(prediction.digits, prediction.positions, scale))
    stdout.print(f"predicted {prediction}", end="\n\n")


def render_strip(strip: NDArray[np.uint8], width: int, colour: bool) -> Text:
    """A strip (40, W) as lines of `width` characters, each two pixels high."""
    rows = 2 * max(1, round(strip.shape[0] * width / strip.shape[1] / 2))
    pixels = torch.from_numpy(np.asarray(strip, np.float32))[None, None]
    grey = F.interpolate(pixels, size=(rows, width), mode="area")[0, 0].round().int().tolist()
    text = Text(no_wrap=True, end="")
    for above, below in zip(grey[::2], grey[1::2], strict=True):
        if text:
            text.append("\n")
        for a, b in zip(above, below, strict=True):
            if colour:
                text.append("▀", Style(color=_rgb(a), bgcolor=_rgb(b)))
            else:
                text.append(SHADES[(a + b) * len(SHADES) // 512])
    return text


def _rgb(grey: int) -> str:
    return f"rgb({grey},{grey},{grey})"


def _below(digits: Sequence[int], positions: Sequence[int], scale: float) -> str:
    """Digits, each under the place where it stands."""
    line = ""
    for digit, position in zip(digits, positions, strict=True):
        line = line.ljust(int(position * scale)) + str(digit)
    return line
