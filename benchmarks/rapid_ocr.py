"""RapidOCR, an OCR engine whose models come with it (pip install rapidocr-onnxruntime).

Of what it reads, digits alone are kept. Its threads are as many as torch's.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Line = list[int]


class Rapid:
    """The engine. To make one raises ImportError where it is not installed."""

    def __init__(self) -> None:
        from rapidocr_onnxruntime import RapidOCR

        threads = torch.get_num_threads()
        self.engine: Any = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)

    def strip(self, pixels: NDArray[np.uint8]) -> Line:
        """The digits of a strip, light on dark. It is one upright line, so none is looked for."""
        found, _ = self.engine(255 - pixels, use_det=False, use_cls=False)
        return [digit for text, _ in found or [] for digit in digits(text)]

    def lines(self, picture: Path) -> list[Line]:
        """The digits of each line of a picture, top to bottom, those of low score too.

        The engine may give a line in pieces. They are put together if they are level, once the
        tilt of the widest piece is taken out.
        """
        found, _ = self.engine(str(picture), text_score=0.0)
        found = [(np.array(corners), text) for corners, text, _ in found or []]
        if not found:
            return []
        right, down = max((c[1] - c[0] for c, _ in found), key=lambda edge: float(edge[0]))
        pieces = []
        for corners, text in found:
            x, y = corners.mean(0)
            height = float(np.linalg.norm(corners[3] - corners[0]))
            pieces.append((float(y - x * down / right), float(x), height, digits(text)))
        lines: list[list[tuple[float, float, float, Line]]] = []
        for piece in sorted(pieces):
            last = lines[-1][-1] if lines else None
            if last and piece[0] - last[0] < min(piece[2], last[2]) / 2:
                lines[-1].append(piece)
            else:
                lines.append([piece])
        read = [
            [digit for piece in sorted(line, key=lambda p: p[1]) for digit in piece[3]]
            for line in lines
        ]
        return [line for line in read if line]


def digits(text: str) -> Line:
    """The digits in a text."""
    return [int(c) for c in text if c.isdecimal()]


def lines_right(wrote: list[Line], read: list[Line]) -> int:
    """How many lines are read right, in their order, whatever is lost or added beside them."""
    match = SequenceMatcher(None, [tuple(w) for w in wrote], [tuple(r) for r in read], False)
    return sum(block.size for block in match.get_matching_blocks())
