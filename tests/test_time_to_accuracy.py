"""`benchmarks/time_to_accuracy.py` reads the lines that runs say, its own and the old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from digitsum.training.events import EpochRecord
from digitsum.training.progress import words

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RECORD = EpochRecord(3, 0.2, 0.1, 95.25, 97.5, 0.002, 61.0, 400.0, best=True, attempt=1)
BEFORE = "epoch   3  loss 0.2  val loss 0.1  val exact 95.25%  within 1 97.50%  400 strips/s  61 s"


@pytest.mark.parametrize("line", [words(RECORD, None), words(RECORD, 80), BEFORE])
def test_epochs_and_their_accuracy_are_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import time_to_accuracy

    found: Any = time_to_accuracy.EPOCH.match(line)
    assert (int(found[1]), float(found[2])) == (3, 95.25)


def test_the_picture_is_of_the_processor_that_was_measured_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import time_to_accuracy

    plt = pytest.importorskip("matplotlib.pyplot")
    drawn: list[Any] = []
    plot = plt.Axes.plot

    def kept(axes: Any, *given: Any, **how: Any) -> Any:
        drawn.append(given[:2])
        return plot(axes, *given, **how)

    monkeypatch.setattr(plt.Axes, "plot", kept)
    run = {"seconds": None, "epochs": [[10.0, 50.0], [20.0, 95.0]], "on": {"processor": "a"}}
    other = {**run, "epochs": [[5.0, 96.0]], "on": {"processor": "b"}}
    cells = {"fast, seed 0, whole": run, "fast, seed 0": other, "before, seed 0": other}
    time_to_accuracy.draw(cells, tmp_path / "picture.png")
    assert drawn == [((5.0,), (96.0,))] * 2
    assert (tmp_path / "picture.png").stat().st_size > 1000
