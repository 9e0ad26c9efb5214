"""What the studies rest on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from digitsum.datasets.split import split_rows
from digitsum.datasets.strips import StripSet

FOLDER = Path(__file__).parents[1] / "studies"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_scripts_say_how_they_are_run() -> None:
    shared = ("study.py", "measuring.py", "gpu_check.py", "gpu_session.py", "rapid_ocr.py",
              "photograph_maker.py")  # fmt: skip
    for folder in ("benchmarks", "examples", "scripts", "studies"):
        for script in (FOLDER.parent / folder).glob("*.py"):
            usage = f"Usage: python {folder}/{script.name}"
            imported = script.name in shared or script.name.startswith("fault_")
            assert imported or usage in script.read_text(), script
