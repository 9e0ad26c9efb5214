"""What is in a data set, and whether it can be trained on and read: `digitsum check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from digitsum.ambient import default_settings
from digitsum.datasets.appearance import described, kinds_of
from digitsum.datasets.split import split_rows
from digitsum.datasets.strips import StripSet, at_once, strip_hashes
from digitsum.display import Column, Table, Tabular, counted, percent
from digitsum.errors import DataError, prefixed
from digitsum.inference import DigitCount, LoadedModel
from digitsum.models.sum_likelihood import count_distribution
from digitsum.predictions import UNLIKELY, Predictions

SAMPLE = 1000  # strips that are looked at and read, evenly spaced; fewer of wide ones
DIM = 128  # of 255, that the digits of most strips reach
FEW = 500  # strips below which training from the start learns little
COMMON = 0.05  # share of strips from which a number of digits is named
WELL = 90  # percent of sums right from which a model reads the strips

Level = Literal["ok", "careful", "fails"]


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        level: `fails` if training would end in an error, `careful` if a person should look.
        check: What was looked at.
        seen: What was seen, and what to do.
    """

    level: Level
    check: str
    seen: str


@dataclass(frozen=True)
class DataCheck(Tabular):
    """What is in a data set.

    Attributes:
        data: Its name, as it was typed.
        count: How many strips.
        findings: What each check saw, in order.
    """

    data: str
    count: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """What training would fail at."""
        return [finding for finding in self.findings if finding.level == "fails"]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `digitsum check`."""
        return {**asdict(self), "can_be_trained_on": not self.failures}

    def table(self) -> Table:
        """A row for each finding."""
        columns = [
            Column(name, [getattr(finding, name) for finding in self.findings], numeric=False)
            for name in ("level", "check", "seen")
        ]
        return Table(f"{self.data}: {counted(self.count, 'strip')}", columns)


@default_settings()
def check_data(
    data: StripSet, model: LoadedModel, digits_per_strip: DigitCount = None, without_sums: str = ""
) -> DataCheck:
    """Looks through a data set.

    Args:
        data: The strips; their sums are looked at unless there are none.
        model: What reads a sample of them.
        digits_per_strip: How many digits each strip is known to hold, or `any`. By default as the
            counts of the strips say, or else as many as the model was trained on.
        without_sums: Why there are no sums; empty if there are.
    """
    differ = data.counts is not None and digits_per_strip is None
    known = None if differ else model.digit_count(digits_per_strip)
    sample = at_once(SAMPLE, data.width)
    rows = np.unique(np.linspace(0, len(data) - 1, sample).astype(np.int64))
    strips = np.concatenate(list(data.chunks(rows)))
    found = [*_strips(data), *_appearance(strips, len(data)), _contrast(strips)]
    if without_sums:
        found.append(Finding("fails", "sums", f"there are none: {without_sums}"))
    else:
        found += [*_sums(data.sums, known), _copies(data)]
    counts = data.counts[rows] if data.counts is not None and differ else None
    with prefixed(model.name):
        predictions, columns = model.predict_with_columns(strips, known, counts)
    if columns is not None:
        found.append(_digits(columns, known))
    sums = None if without_sums else data.sums[rows]
    found.append(_reading(model.name, predictions, sums))
    return DataCheck(" ".join(data.name), len(data), found)


def _strips(data: StripSet) -> list[Finding]:
    files = counted(len(data.files), "file")
    found = [Finding("ok", "strips", f"40 x {data.width} pixels, in {files}")]
    try:
        split = split_rows(len(data), 0)
    except DataError as error:
        return [*found, Finding("fails", "number", str(error))]
    level: Level = "careful" if len(data) < FEW else "ok"
    few = ": few to learn digits from" if len(data) < FEW else ""
    here = f"{len(split.train):,} would train, {len(split.val):,} validate{few}"
    return [*found, Finding(level, "number", here)]


def _appearance(strips: NDArray[np.uint8], total: int) -> list[Finding]:
    lines = described(kinds_of(strips), "", len(strips))
    looked = "" if len(strips) == total else f" of {len(strips):,} looked at"
    if not lines:
        return [Finding("ok", "appearance", f"all{looked} light digits on black")]
    return [Finding("careful", "appearance", line.removeprefix(": ")) for line in lines]


def _contrast(strips: NDArray[np.uint8]) -> Finding:
    top = float(np.median(strips.max((1, 2))))
    level: Level = "careful" if top < DIM else "ok"
    advice = ": scale them, white is 255" if top < DIM else ""
    return Finding(level, "contrast", f"digits reach {top:.0f} of 255 in most strips{advice}")


def _sums(sums: NDArray[np.int64], digits_per_strip: int | None) -> list[Finding]:
    values, counts = np.unique(sums, return_counts=True)
    low, middle, high = np.percentile(sums, [25, 50, 75])
    common = values[counts.argmax()]
    seen = (
        f"{sums.min()} to {sums.max()}, mean {sums.mean():.2f}, quartiles {low:g}, {middle:g} and "
        f"{high:g}; {common} is the most common, {100 * counts.max() / len(sums):.1f}%"
    )
    found = [Finding("ok", "sums", seen)]
    if len(values) == 1:
        alike = f"all are {common}: nothing tells one strip from another"
        found[0] = Finding("careful", "sums", alike)
    if digits_per_strip is not None and sums.max() > (top := 9 * digits_per_strip):
        beyond = int((sums > top).sum())
        found.append(
            Finding(
                "fails",
                "reach",
                f"{beyond:,} sums are above {top}, which {counted(digits_per_strip, 'digit')} "
                "cannot reach: correct them, or give --digits-per-strip",
            )
        )
    return found


def _copies(data: StripSet) -> Finding:
    """Strips that stand there more than once, and whether their sums agree."""
    hashes = np.concatenate([strip_hashes(chunk) for chunk in data.chunks()])
    order = np.lexsort((data.sums, hashes))
    same = hashes[order][1:] == hashes[order][:-1]
    differ = same & (data.sums[order][1:] != data.sums[order][:-1])
    if differ.any():
        seen = f"{int(differ.sum()):,} strips are copies of others with another sum: correct it"
        return Finding("careful", "copies", seen)
    if same.any():
        seen = f"{int(same.sum()):,} strips are copies of others: they flatter validation"
        return Finding("careful", "copies", seen)
    return Finding("ok", "copies", "no strip is there twice")


def _digits(columns: Tensor, digits_per_strip: int | None) -> Finding:
    """How many digits strips seem to hold, from the probabilities (N, T, 11) in their columns."""
    shares = np.bincount(count_distribution(columns).argmax(1).numpy()) / len(columns)
    common = [int(number) for number in np.argsort(-shares) if shares[number] >= COMMON]
    seen = ", ".join(f"{number} in {100 * shares[number]:.1f}%" for number in common)
    if digits_per_strip is None:
        return Finding("ok", "digits", f"strips seem to hold {seen}")
    if common[:1] == [digits_per_strip] and len(common) == 1:
        return Finding("ok", "digits", f"{digits_per_strip} in each, it seems")
    advice = f"{digits_per_strip} are assumed: give --digits-per-strip N or any"
    seen = f"strips seem to hold {seen or 'no one number'}; {advice}"
    return Finding("careful", "digits", seen)


def _reading(name: str, found: Predictions, sums: NDArray[np.int64] | None) -> Finding:
    """How much of it a model reads."""
    beyond = 0.0
    if found.count_probability is not None:
        beyond = 100 * float((found.count_probability < UNLIKELY).mean())
    told = ""
    if found.confidence is not None:
        told = f", mean confidence {percent(float(found.confidence.mean()))}"
    lost = f", {beyond:.1f}% beyond it" if beyond else ""
    if sums is None:
        level: Level = "careful" if beyond > 100 - WELL else "ok"
        return Finding(level, "reading", f"{name} on {len(found):,} strips{told}{lost}")
    right = 100 * float((found.sum == sums).mean())
    level = "careful" if right < WELL else "ok"
    seen = f"{name} reads {right:.1f}% of {len(found):,} sums right{told}{lost}"
    return Finding(level, "reading", seen)


def failing(found: Sequence[Finding]) -> str:
    """What training would fail at, in a line."""
    return "; ".join(f"{finding.check}: {finding.seen}" for finding in found)
