"""`benchmarks/time_to_accuracy.py` reads the lines that runs say, its own and the old ones."""

from __future__ import annotations

import json
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


def test_the_picture_is_of_this_machine_alone(
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
    here = "{processor}, {instructions}".format_map(time_to_accuracy.machine())
    run = {"seconds": 20.0, "epochs": [[10.0, 50.0], [20.0, 95.0]]}
    other = {"seconds": 5.0, "epochs": [[5.0, 96.0]]}
    measured = {"another": {"fast, seed 0": run}, here: {"fast, seed 0": other}}
    (tmp_path / "time_to_accuracy.json").write_text(json.dumps(measured))
    monkeypatch.setattr(time_to_accuracy, "RESULTS", tmp_path)
    time_to_accuracy.measure(seeds=0, plot=tmp_path / "picture.png")
    assert drawn == [((5.0,), (96.0,))]
    assert (tmp_path / "picture.png").stat().st_size > 1000
