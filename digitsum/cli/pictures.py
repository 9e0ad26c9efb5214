"""Strips drawn on stdout: half blocks in grey, or characters where there is no colour."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text
from torch.nn import functional as F

from digitsum.cli.show import stdout
from digitsum.evaluation import Misread
from digitsum.readings import Readings, said

MAX_COLUMNS = 100  # of a terminal that a strip takes
SHADES = " .:-=+*#%@"


def show_readings(name: str, start: int, strips: NDArray[np.uint8], readings: Readings) -> None:
    """Draws strips (N, 40, W) of a file from number `start` on, each with its reading below."""
    for i, strip in enumerate(strips):
        stdout.print(f"{name}, strip {start + i}")
        _show(strip, readings, i)


def show_misread(misread: Misread) -> None:
    """Draws a strip that was read wrong, with what was read and what is there."""
    stdout.print(f"strip {misread.row}: there is {misread.truth_in_words}")
    _show(misread.strip, misread.reading, 0)


def _show(strip: NDArray[np.uint8], readings: Readings, i: int) -> None:
    width = min(stdout.width, MAX_COLUMNS, strip.shape[1])
    stdout.print(draw(strip, width, colour=stdout.color_system is not None))
    if readings.digits is not None and readings.columns is not None:
        stdout.print(_below(readings.digits[i], readings.columns[i], width / strip.shape[1]))
    stdout.print(said(readings, i), end="\n\n")


def draw(strip: NDArray[np.uint8], width: int, colour: bool) -> Text:
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


def _below(digits: NDArray[np.int8], columns: NDArray[np.int16], scale: float) -> str:
    """Digits, each under the place where it stands."""
    line = ""
    for digit, column in zip(digits[digits >= 0], columns[digits >= 0], strict=True):
        line = line.ljust(int(column * scale)) + str(digit)
    return line
