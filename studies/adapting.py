"""What strips of another hand teach a reader that has seen none of it, by how many they are.

The start is a small reader, trained on the strips of `mnist` alone. The other hand is optdigits
(see `scripts/optdigits.py`). Strips to learn from are composed from the first half of its digits,
strips to read from the second half. Three learn from the same strips:

- *sums*: `digitsum.adapt` as it comes;
- *digits*: the same adaptation with other labels, the digits from left to right (not where they
  stand). Its loss is the exact likelihood of that string, which also decides whether the result is
  better than the start;
- *from nothing*: the recipe of the start, which has none, in as many epochs as make 24,000 strips.

Each draw has other strips to learn from and another seed of the runs. A smaller set of a draw is
the first strips of a larger one. All sizes of a draw are measured before the next draw.

Usage: python studies/adapting.py [--optdigits FILE] [--draws 5] [--no-from-nothing]

Without the file nothing is measured, and the cells that are there are shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from few_labels import string_likelihood
from measuring import put
from optdigits import WHERE, optdigits
from study import ACCURACY, PAGE, Cell, Study, drawing, error_axis, scored, some, trained
from torch import Tensor

from digitsum import adapt, load
from digitsum.cli.malloc import keep_freed
from digitsum.datasets import open_data
from digitsum.datasets.digits import Digits
from digitsum.datasets.split import VALIDATION
from digitsum.datasets.strips import KnownDigits, StripSet
from digitsum.datasets.synthesis import compose
from digitsum.inference import LoadedModel
from digitsum.models.reader import Reader
from digitsum.training import adapting

SIZES = (50, 100, 250, 500, 1_000, 2_000)  # strips; a fifth of them validates
DRAWS = 5
READ = 2_000  # strips of the second half that are read
# the recipe `fast` as it was for these figures; the last layer's first weights are smaller since
SMALL = {"arch": "reader", "size": "small", "batch_size": 16, "lr": 0.003, "ema_decay": 0.99}
SMALL |= {"guide": 0.0, "warp": 1.4, "pct_start": 0.3, "crop": 0}
START_EPOCHS = 4
SEEN = 24_000  # strips in all epochs from nothing
WAYS = ("sums", "digits", "from nothing")
START = "start"
CAPTION = "Share of strips with a wrong sum, by number of strips to learn from"


class _DigitsKnown(adapting._Adapter):
    """An adaptation that gives the loss digits (B, K), int64, in the place of sums (B,)."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        truth = self.data.data.truth()
        assert truth is not None
        self.data.sums = torch.from_numpy(truth).long().to(self.device.device)


def string_loss(
    reader: Reader, outputs: Tensor, digits: Tensor, progress: Any, counts: Tensor | None = None
) -> Tensor:
    """Mean -log P(these digits from left to right); (B, T, 11), (B, K) -> ()."""
    return -string_likelihood(outputs, digits).mean()


@contextmanager
def digit_labels() -> Iterator[None]:
    """Inside, `adapt` learns from digits, and all else is as it was."""
    loss = mock.patch.object(Reader, "loss", string_loss)
    with loss, mock.patch.object(adapting, "_Adapter", _DigitsKnown):
        yield


class Hand:
    """The other hand, and what is measured on it.

    Args:
        digits: All its digits.
        precision: Precision of all trainings.
    """

    def __init__(self, digits: Digits, precision: str) -> None:
        half = len(digits.labels) // 2
        self.first, self.second = some(digits, slice(half)), some(digits, slice(half, None))
        self.precision = precision

    @cached_property
    def to_read(self) -> StripSet:
        """Strips of the second half."""
        return compose(self.second, READ, seed=11).as_strips("optdigits, second half")

    @cached_property
    def test(self) -> StripSet:
        """Strips that tell how much of MNIST's hands is still known."""
        return open_data("mnist-test")

    def to_learn_from(self, size: int, draw: int) -> StripSet:
        """Strips of the first half; their digits are there for those who know them."""
        made = compose(self.first, max(SIZES), seed=100 + draw)
        known = KnownDigits(made.truth.digits[:size])
        name = f"optdigits, first half, draw {draw}"
        return StripSet([name], [made.images[:size]], made.sums[:size], known)

    @cached_property
    def start(self) -> LoadedModel:
        """The reader that has seen MNIST alone, trained where it is missing."""
        changes = {**SMALL, "epochs": START_EPOCHS}
        return trained("adapting_start", changes, open_data("mnist"), self.precision)

    def score(self, model: LoadedModel) -> Cell:
        """What a model reads of the new hand, and of MNIST's test digits."""
        known = scored(model, self.test)["exact_accuracy"]
        return {**scored(model, self.to_read), "mnist_test": known}

    def measure_start(self) -> Cell:
        """The cell of no strips."""
        return {"strips": 0, **self.score(self.start), "seconds": seconds_of(self.start)}

    def measure(self, way: str, size: int, draw: int) -> Cell:
        """The cell of a way to learn, a number of strips, and a draw."""
        what = {"way": way, "strips": size, "draw": draw}
        learn = self.from_nothing if way == WAYS[-1] else self.adapted
        return {**what, **learn(self.to_learn_from(size, draw), way, draw)}

    def from_nothing(self, strips: StripSet, way: str, draw: int) -> Cell:
        """What a run without a start reads."""
        epochs = round(SEEN / ((1 - VALIDATION) * len(strips)))
        changes = {**SMALL, "epochs": epochs, "seed": draw}
        model = trained(f"adapting_{len(strips)}_{draw}", changes, strips, self.precision)
        return {**self.score(model), "seconds": seconds_of(model)}

    def adapted(self, strips: StripSet, way: str, draw: int) -> Cell:
        """What the start reads after it has been adapted, to sums or to digits."""
        start = self.start.name
        with TemporaryDirectory() as folder, digit_labels() if way == "digits" else nullcontext():
            out, began = Path(folder) / "adapted.pt", time.perf_counter()
            found = adapt(
                strips, start, out=out, progress=False, seed=draw, precision=self.precision
            )
            seconds, model = time.perf_counter() - began, load(out)
        return {**self.score(model), "seconds": seconds, "better": found.better}


def seconds_of(model: LoadedModel) -> float:
    """Seconds of all epochs of a run, however often it was stopped."""
    return sum(float(record["seconds"]) for record in model.checkpoint.history)


def study(
    file: Annotated[Path | None, typer.Option("--optdigits", help=f"The digits: {WHERE}.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each number of strips.")] = DRAWS,
    nothing: Annotated[
        bool, typer.Option("--from-nothing/--no-from-nothing", help="Train from nothing too.")
    ] = True,
    precision: str = "auto",
) -> None:
    """Measures what a reader learns of another hand, by the number of strips."""
    kept = Study("adapting")
    if file is None:
        print(f"adapting: nothing is measured without --optdigits FILE, which is {WHERE}")
        report(kept)
        return
    keep_freed()  # as the program does
    hand = Hand(optdigits(file), precision)
    kept.cell(START, hand.measure_start)
    for draw in range(draws):
        for way in WAYS if nothing else WAYS[:-1]:
            for size in SIZES:
                key = f"{way}, {size:,} strips, draw {draw}"
                kept.cell(key, partial(hand.measure, way, size, draw))
        report(kept)


def report(kept: Study) -> None:
    """Shows the cells that are there as a table and a figure, if there are any."""
    if not kept.cells:
        print("adapting: there is nothing to show")
        return
    kept.show(
        {
            "draws": "draws",
            "exact_accuracy": ACCURACY,
            "range": "lowest to highest",
            "better": "better than the start, by its validation",
            "share": "share of the gain with digits, %",
            "mnist_test": f"mnist-test, {ACCURACY}",
            "seconds": "s",
        },
        summary(kept.cells),
    )
    draw_figure(kept.cells)
    put(PAGE, "adapting_figure", f"\n![{CAPTION}](results/adapting.png)\n")


def drawn(cells: Mapping[str, Cell], way: str, size: int) -> dict[int, Cell]:
    """The cells of a way to learn and a number of strips, by draw."""
    return {
        cell["draw"]: cell
        for cell in cells.values()
        if (cell.get("way"), cell["strips"]) == (way, size)
    }


def summary(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Means over the draws, in a row for the start and for each way and number of strips.

    The share is that of the gain that digit labels bring, over the draws that have both.
    """
    rows: dict[str, Cell] = {}
    start = cells.get(START)
    if start is not None:
        rows[START] = start
    for way in WAYS:
        for size in SIZES:
            if not (found := drawn(cells, way, size)):
                continue
            row: Cell = {"draws": len(found)}
            for name in ("exact_accuracy", "mnist_test", "seconds"):
                row[name] = statistics.mean(cell[name] for cell in found.values())
            exact = [cell["exact_accuracy"] for cell in found.values()]
            row["range"] = f"{min(exact):.2f} to {max(exact):.2f}"
            better = [cell["better"] for cell in found.values() if "better" in cell]
            row |= {"better": f"{sum(better)} of {len(better)}"} if better else {}
            if way == "sums" and start is not None:
                share = share_of_gain(start, found, drawn(cells, "digits", size))
                row |= {} if share is None else {"share": share}
            rows[f"{way}: {size:,}"] = row
    return rows


def share_of_gain(
    start: Cell, sums: Mapping[int, Cell], digits: Mapping[int, Cell]
) -> float | None:
    """Percent of the gain with digit labels that sums bring; None where these gain nothing."""
    both = sums.keys() & digits.keys()
    gains = [
        sum(cells[draw]["exact_accuracy"] - start["exact_accuracy"] for draw in both)
        for cells in (sums, digits)
    ]
    return 100 * gains[0] / gains[1] if gains[1] > 0 else None


def draw_figure(cells: Mapping[str, Cell]) -> None:
    """Misread strips by number of strips: the mean of the draws, and a band from end to end."""
    panels = {"exact_accuracy": "the new hand", "mnist_test": "mnist-test, afterwards"}
    with drawing("adapting", width=8.0, panels=len(panels)) as both:
        for axes, (name, title) in zip(both, panels.items(), strict=True):
            if START in cells:
                axes.axhline(100 - cells[START][name], color="k", linestyle=":", label=START)
            for way in WAYS:
                found = {size: drawn(cells, way, size).values() for size in SIZES}
                line = {
                    size: [100 - cell[name] for cell in of_size]
                    for size, of_size in found.items()
                    if of_size
                }
                if not line:
                    continue
                means = [statistics.mean(misread) for misread in line.values()]
                lowest, highest = map(min, line.values()), map(max, line.values())
                axes.plot(list(line), means, marker="o", markersize=3, label=way)
                axes.fill_between(list(line), list(lowest), list(highest), alpha=0.2)
            axes.set(xscale="log", xlabel="strips to learn from", title=title)
            axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
            error_axis(axes)
        both[0].legend()


if __name__ == "__main__":
    typer.run(study)
