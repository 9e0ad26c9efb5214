"""What a model says of strips.

Letters: B strips, K digits in a strip.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from digitsum.display import CERTAIN, Column, Table, counted, describe, strip_rows

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # predictions that print or show in a notebook, at the most
UNLIKELY = 0.1  # count probability below which a strip hardly holds so many digits
RARE = 0.001  # share of such strips of which nothing is said: some are not well written


@dataclass(frozen=True)
class Prediction:
    """What a model says of one strip; None for what it does not say.

    Attributes:
        sum: The predicted sum.
        value: The continuous estimate of the sum.
        confidence: The probability of the sum, 0..1, given the known number of digits.
        count_probability: The probability that the strip holds that number of digits, 0..1; 1
            where any number will do. It is near 0 for what cannot be read: then the confidence
            means nothing.
        digits: The digits from left to right.
        positions: The pixel at which each digit stands.
        strip: The strip itself, uint8 (40, W), where it was kept.
    """

    sum: int
    value: float
    confidence: float | None = None
    count_probability: float | None = None
    digits: list[int] | None = None
    positions: list[int] | None = None
    strip: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return describe(self.value, self.sum, self.confidence, self.digits, self.count_probability)

    @property
    def probability(self) -> float | None:
        """Confidence times count probability: that of so many digits with this sum."""
        if self.confidence is None or self.count_probability is None:
            return self.confidence
        return self.confidence * self.count_probability

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the strip."""
        names = (each.name for each in fields(self) if each.name != "strip")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """Predictions for B strips, as arrays on the CPU.

    `sum` is what the model says, `value` the continuous estimate behind it. A regressor has no
    confidence and no digits. A reader's digits always add up to the sum. An index gives one
    `Prediction`, a slice gives `Predictions`.

    Attributes:
        sum: The predicted sums, (B,).
        value: The continuous estimates of the sums, (B,).
        confidence: The probability of each sum, (B,), 0..1, given the known number of digits.
        count_probability: The probability that each strip holds that number of digits, (B,).
        digits: The digits from left to right, (B, K), padded with -1.
        positions: The pixel at which each digit stands, (B, K), padded with -1.
        strips: The strips, (B, 40, W), where they were kept.
    """

    sum: NDArray[np.int64]
    value: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    count_probability: NDArray[np.float32] | None = None
    digits: NDArray[np.int8] | None = None
    positions: NDArray[np.int32] | None = None
    strips: NDArray[np.uint8] | None = None

    @property
    def probability(self) -> NDArray[np.float32] | None:
        """Confidence times count probability, (B,): that of so many digits with this sum."""
        if self.confidence is None or self.count_probability is None:
            return self.confidence
        return self.confidence * self.count_probability

    def __len__(self) -> int:
        return len(self.sum)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            cut: dict[str, Any] = {}
            for each in fields(self):
                array = getattr(self, each.name)
                cut[each.name] = None if array is None else array[index]
            return Predictions(**cut)
        return Prediction(
            sum=int(self.sum[index]),
            value=float(self.value[index]),
            confidence=_at(self.confidence, index),
            count_probability=_at(self.count_probability, index),
            digits=_unpadded(self.digits, index),
            positions=_unpadded(self.positions, index),
            strip=None if self.strips is None else self.strips[index],
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))

    @classmethod
    def concatenate(cls, batches: Sequence[Predictions]) -> Predictions:
        """Predictions of all batches in order; digits of unequal number are padded with -1."""
        joined: dict[str, Any] = {}
        for each in fields(cls):
            arrays = [getattr(batch, each.name) for batch in batches]
            joined[each.name] = None if any(a is None for a in arrays) else pad_and_join(arrays)
        return cls(**joined)

    def in_order(self, rows: NDArray[np.int64]) -> Predictions:
        """The predictions of these rows, in their order."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        taken: dict[str, Any] = {k: None if v is None else v[rows] for k, v in arrays.items()}
        return Predictions(**taken)

    @classmethod
    def agreed(cls, readings: Sequence[Predictions]) -> Predictions:
        """What several readings of the same B strips say together.

        The sum is the one whose mean probability is highest. Its confidence is that of the reading
        that is least sure of it; one that says another sum leaves it 1 minus its own confidence.
        All else is of the reading that is surest of this sum; the count probability is the mean.

        Args:
            readings: With confidence and count probability.
        """
        sums = np.stack([reading.sum for reading in readings])  # (R, B)
        probabilities = [(reading.confidence, reading.count_probability) for reading in readings]
        sure, counts = np.array(probabilities, np.float32).swapaxes(0, 1)  # (R, B) both
        mean = np.mean(sure * (sums == sums[:, None]), axis=1)  # of the sum that each reading says
        said = np.take_along_axis(sums, mean.argmax(0)[None], 0)
        agree = sums == said
        which = np.where(agree, sure, -1).argmax(0)
        strips = np.arange(len(which))
        best = cls.concatenate(readings).in_order(which * len(strips) + strips)
        least = np.where(agree, sure, 1 - sure).min(0)
        return replace(best, confidence=least, count_probability=counts.mean(0))

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists by name, one entry for each strip, without what the model does not say."""
        rows = [prediction.to_dict() for prediction in self]
        names = [each.name for each in fields(self) if each.name != "strips"]
        said = [name for name in names if getattr(self, name) is not None]
        return {name: [row[name] for row in rows] for name in said}

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with one row for each strip.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def table(self) -> Table:
        """The first `SHOWN` predictions."""
        shown = list(itertools.islice(self, SHOWN))
        columns = [
            Column("", [str(i) for i in range(len(shown))]),
            Column("sum", [str(p.sum) for p in shown]),
            Column("value", [f"{p.value:.2f}" for p in shown]),
        ]
        if self.confidence is not None:
            confidences = [min(p.confidence or 0.0, 0.9999) for p in shown]  # never certain
            columns.append(Column("confidence", [f"{known:.4f}" for known in confidences]))
        counts = [1.0 if p.count_probability is None else p.count_probability for p in shown]
        if min(counts, default=1.0) < CERTAIN:  # else it says nothing
            cells = [f"{min(known, 0.9999):.4f}" for known in counts]
            columns.append(Column("count probability", cells))
        if self.digits is not None:
            columns.append(Column("digits", [_spaced(p.digits) for p in shown], numeric=False))
        if self.positions is not None:
            columns.append(
                Column("positions", [_spaced(p.positions) for p in shown], numeric=False)
            )
        return Table("", columns)

    def __str__(self) -> str:
        more = len(self) - SHOWN
        return str(self.table()) + (f"\nand {more:,} more" if more > 0 else "")

    def __repr__(self) -> str:
        said = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        return f"Predictions(of {counted(len(self), 'strip')}: {', '.join(said)})"

    def _repr_html_(self) -> str:
        """The first strips with what was predicted, for notebooks."""
        shown = list(itertools.islice(self, SHOWN))
        return strip_rows([(p.strip, str(p)) for p in shown], len(self) - len(shown))


@dataclass
class CountCheck:
    """How many strips hardly hold as many digits as they are said to, added up over batches."""

    unlikely: int = 0
    total: int = 0

    def add(self, predictions: Predictions) -> CountCheck:
        """Counts the strips of a batch."""
        self.total += len(predictions)
        if predictions.count_probability is not None:
            self.unlikely += int((predictions.count_probability < UNLIKELY).sum())
        return self

    def warning(self, digits_per_strip: int | None) -> str:
        """A line that says so, and what to do; empty if all is well.

        Args:
            digits_per_strip: How many digits all are said to hold; None if that differs.
        """
        if self.unlikely <= RARE * self.total:
            return ""
        said = "as many digits as is said of them"
        if digits_per_strip is not None:
            said = counted(digits_per_strip, "digit")
        return (
            f"{self.unlikely:,} of {counted(self.total, 'strip')} hardly "
            f"{'holds' if self.unlikely == 1 else 'hold'} {said}: try --digits-per-strip any, or "
            "look at them"
        )


def pad_and_join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays joined along the first axis, a second axis padded with -1 to the longest."""
    if arrays[0].ndim == 2:
        longest = max(array.shape[1] for array in arrays)
        arrays = [
            np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=-1)
            for array in arrays
        ]
    return np.concatenate(arrays)


def _at(array: NDArray[np.floating] | None, row: int) -> float | None:
    return None if array is None else float(array[row])


def _unpadded(array: NDArray[Any] | None, row: int) -> list[int] | None:
    """The entries of a row that are not padding, as plain numbers."""
    return None if array is None else [int(entry) for entry in array[row] if entry >= 0]


def _spaced(numbers: Sequence[int] | None) -> str:
    return " ".join(map(str, numbers or ()))
