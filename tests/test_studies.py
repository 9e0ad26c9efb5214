"""What the studies rest on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import digitsum
from digitsum.datasets.split import split_rows
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import DataError
from digitsum.models.reader import Reader
from digitsum.training.events import EpochRecord, Event

FOLDER = Path(__file__).parents[1] / "studies"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.with_name("scripts")))
    monkeypatch.syspath_prepend(str(FOLDER))


def test_the_likelihood_of_a_string_equals_enumeration() -> None:
    from few_labels import string_likelihood

    log_probs = torch.randn(1, 4, 11, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    digits = [3, 0]
    expected = 0.0
    for way in itertools.product(range(11), repeat=4):
        if [symbol - 1 for symbol in way if symbol] == digits:
            expected += float(log_probs[0, range(4), way].sum().exp())
    found = string_likelihood(log_probs, torch.tensor([digits])).exp()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_only_training_sums_are_noisy() -> None:
    from wrong_labels import with_label_noise

    data = StripSet.from_arrays(np.zeros((100, 40, 28), np.uint8), np.arange(100))
    changed = np.flatnonzero(with_label_noise(data, 40).sums != data.sums)
    assert 20 < len(changed) <= 32  # 40% of 80, but for those that drew themselves
    assert set(changed) <= set(split_rows(100, 0).train)


def test_a_cell_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import study

    monkeypatch.setattr(study, "RESULTS", tmp_path)
    calls: list[str] = []

    def measure() -> dict[str, Any]:
        calls.append("measured")
        return {"exact": 1.5}

    assert study.Study("tried").cell("a", measure)["exact"] == 1.5
    assert study.Study("tried").cell("a", measure)["exact"] == 1.5  # by a later process
    assert calls == ["measured"]
    assert [path.name for path in tmp_path.iterdir()] == ["study_tried.json"]


def test_cells_stand_in_the_order_that_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import study

    monkeypatch.setattr(study, "RESULTS", tmp_path)

    def ask(*keys: str) -> list[str]:
        kept = study.Study("tried")
        for key in keys:
            kept.cell(key, lambda: {"exact": 1.5})
        return list(kept.cells)

    assert ask("b", "c") == ["b", "c"]
    assert ask("a", "b") == ["a", "b", "c"]  # a, measured last, comes first; c is not asked for
    assert list(study.Study("tried").cells) == ["a", "b", "c"]


@pytest.mark.slow
def test_with_digit_labels_sums_teach_nothing(tmp_path: Path) -> None:
    from adapting import digit_labels

    made, losses = compose("builtin", 20, seed=0), []
    for number, sums in enumerate((made.sums, made.sums[::-1].copy())):
        events: list[Event] = []
        with digit_labels():
            strips = replace(made.as_strips("made"), sums=sums)
            digitsum.adapt(strips, out=tmp_path / f"{number}.pt", epochs=1, on_event=events.append)
        records = [event for event in events if isinstance(event, EpochRecord)]
        losses.append([(record.train_loss, record.val_loss) for record in records])
    assert len(losses[0]) == 5  # runs
    assert losses[0] == losses[1]
    assert Reader.loss.__module__ == Reader.__module__  # afterwards all is as it was


def test_a_table_of_means_needs_not_all_cells() -> None:
    from adapting import summary

    def cell(way: str, draw: int, exact: float) -> dict[str, Any]:
        known = {"mnist_test": 90.0, "seconds": 1.0, "better": exact > 80}
        return {"way": way, "strips": 50, "draw": draw, "exact_accuracy": exact, **known}

    start = {"strips": 0, "exact_accuracy": 80.0}
    cells = {"start": start, "a": cell("sums", 0, 88.0), "b": cell("sums", 1, 80.0)}
    assert summary(cells)["sums: 50"] == {
        "draws": 2, "exact_accuracy": 84.0, "range": "80.00 to 88.00", "better": "1 of 2",
        "mnist_test": 90.0, "seconds": 1.0,
    }  # fmt: skip
    cells["c"] = cell("digits", 0, 90.0)
    assert list(summary(cells)) == ["start", "sums: 50", "digits: 50"]
    assert summary(cells)["sums: 50"]["share"] == 80  # of the draw that has both


def test_optdigits_are_read_as_they_come_and_packed(tmp_path: Path) -> None:
    from optdigits import optdigits

    bitmaps = np.zeros((2, 32, 32), np.uint8)
    bitmaps[0, :, 12:16] = bitmaps[1, 14:28, 8:24] = 1
    head = ["Training file", "", "depth = 1", "ntot = 2"]
    for bitmap, label in zip(bitmaps, (1, 7), strict=True):
        head += ["".join(map(str, row)) for row in bitmap] + [f" {label}"]
    (tmp_path / "optdigits-orig.tra").write_text("\n".join([*head, ""]))
    np.savez(tmp_path / "packed.npz", bitmaps=np.packbits(bitmaps, axis=2), labels=[1, 7])
    text, packed = (optdigits(tmp_path / name) for name in ("optdigits-orig.tra", "packed.npz"))
    assert np.array_equal(text.images, packed.images)
    assert text.labels.tolist() == packed.labels.tolist() == [1, 7]
    assert text.images.shape == (2, 28, 28)
    for image in text.images:
        for axis in (0, 1):
            centre = image.sum(axis) @ (np.arange(28) + 0.5) / image.sum()
            assert centre == pytest.approx(14.5, abs=0.51)
    with pytest.raises(DataError, match=r"does not hold optdigits .*get optdigits-orig.tra.Z"):
        optdigits(FOLDER / "study.py")


def test_scripts_say_how_they_are_run() -> None:
    shared = ("study.py", "measuring.py", "gpu_check.py", "gpu_session.py", "rapid_ocr.py",
              "photograph_maker.py", "optdigits.py", "hands.py", "pen.py")  # fmt: skip
    for folder in ("benchmarks", "examples", "scripts", "studies"):
        for script in (FOLDER.parent / folder).glob("*.py"):
            usage = f"Usage: python {folder}/{script.name}"
            imported = script.name in shared or script.name.startswith("fault_")
            assert imported or usage in script.read_text(), script
