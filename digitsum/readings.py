"""What a model says of strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Readings:
    """Readings of B strips, on the CPU.

    `sum` is what the model reads, `value` the continuous estimate behind it. A regressor has
    no confidence and no digits. A reader's digits always add up to the sum.
    """

    value: NDArray[np.float32]  # (B,) estimate of the sum
    sum: NDArray[np.int64]  # (B,)
    confidence: NDArray[np.float32] | None = None  # (B,) probability of the sum, 0..1
    digits: NDArray[np.int8] | None = None  # (B, K) left to right, padded with -1
    columns: NDArray[np.int16] | None = None  # (B, K) where each digit stands, in pixels
    strips: NDArray[np.uint8] | None = None  # (B, 40, W) that were read, where they are kept

    def __len__(self) -> int:
        return len(self.sum)

    def rows(self, chosen: slice) -> Readings:
        """Those of some of the strips."""
        cut: dict[str, Any] = {}
        for field in fields(self):
            array = getattr(self, field.name)
            cut[field.name] = None if array is None else array[chosen]
        return Readings(**cut)

    @classmethod
    def concatenate(cls, parts: Sequence[Readings]) -> Readings:
        """Readings of all parts in order; digits of unequal length are padded with -1."""
        joined: dict[str, Any] = {}
        for field in fields(cls):
            arrays = [getattr(part, field.name) for part in parts]
            joined[field.name] = None if any(a is None for a in arrays) else stack(arrays)
        return cls(**joined)

    def _repr_html_(self) -> str:
        """The first strips with what was read in them, for notebooks."""
        from digitsum.notebook import table

        return table(self)


def stack(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays joined along the first axis, a second axis padded with -1 to the longest."""
    if arrays[0].ndim == 2:
        longest = max(array.shape[1] for array in arrays)
        arrays = [
            np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=-1)
            for array in arrays
        ]
    return np.concatenate(arrays)


def said(readings: Readings, i: int) -> str:
    """`read 3 + 5 = 8, 99.1% sure` of a model that tells digits, else `read 8 (value 7.93)`."""
    if readings.digits is None or readings.confidence is None:
        return f"read {readings.sum[i]} (value {readings.value[i]:.2f})"
    sure = f"{100 * readings.confidence[i]:.1f}% sure"
    return f"read {added(readings.digits[i])} = {readings.sum[i]}, {sure}"


def added(digits: NDArray[np.int8]) -> str:
    """`3 + 5`; `nothing` if there is no digit."""
    return " + ".join(str(digit) for digit in digits if digit >= 0) or "nothing"
