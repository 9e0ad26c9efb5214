"""Strips that do not look like strips: dark on light, on grey, or with nothing on them.

They are read as they are, and said to be so: a model answers them with the same calm as others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.strips import CHUNK, Images, at_once
from digitsum.errors import DataWarning

GREY = 25  # of 255: no background of a strip is lighter
CONTRAST = 64  # of 255, that what is written has at least

PLAIN, DARK_ON_LIGHT, ON_GREY, BLANK = range(4)
ODD = {
    DARK_ON_LIGHT: ("dark on light", ": give 255 minus their pixels"),
    ON_GREY: ("on a grey background", ": subtract it, 0 is background"),
    BLANK: ("blank", ""),
}


def warn_of_appearance(files: Sequence[Images], name: str) -> None:
    """Warns, in a line for each kind, of odd ones among the first strips of each file.

    Args:
        files: N strips each.
        name: What the strips are called.
    """
    kinds = np.concatenate([kinds_of(file[0 : at_once(CHUNK, file.shape[2])]) for file in files])
    total = sum(file.shape[0] for file in files)
    seen = f"{total:,}" if len(kinds) == total else f"the first {len(kinds):,}"
    for kind, (said, advice) in ODD.items():
        if count := int((kinds == kind).sum()):
            message = f"{name}: {count:,} of {seen} strips {said}{advice}"
            warnings.warn(message, DataWarning, stacklevel=2)


def kinds_of(strips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What each strip (N, 40, W) looks like, (N,): `PLAIN` or one of the odd kinds.

    The background is the median of the pixels along the border.
    """
    border = np.concatenate(
        [strips[:, 0], strips[:, -1], strips[:, :, 0], strips[:, :, -1]], axis=1
    )
    back = np.median(border, axis=1)
    low, high = strips.min((1, 2)).astype(int), strips.max((1, 2)).astype(int)
    kinds = np.full(len(strips), PLAIN)
    kinds[back > GREY] = ON_GREY
    kinds[back > 127] = DARK_ON_LIGHT
    kinds[high - low < CONTRAST] = BLANK
    return kinds
