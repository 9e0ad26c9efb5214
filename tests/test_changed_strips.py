"""Strips under change in `benchmarks/changed_strips.py`, of the built-in digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digitsum.datasets.digits import load_digits
from digitsum.inference import load_model

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KINDS = ("thinner", "thicker", "slant", "size", "aspect", "spacing", "baseline", "contrast",
         "blur", "noise", "jagged", "JPEG")  # fmt: skip
LINES = ("size", "aspect", "spacing", "baseline")


@pytest.fixture
def changed_strips(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import changed_strips

    return changed_strips


def extent(strips: NDArray[np.uint8]) -> float:
    """Mean width of what is written on strips (N, 40, W)."""
    columns = [np.flatnonzero(strip.max(0) > 64) for strip in strips]
    return float(np.mean([c[-1] - c[0] for c in columns]))


def fall(strips: NDArray[np.uint8]) -> float:
    """Mean slope of what is written on strips (N, 40, W), downwards."""
    return float(np.mean([np.polyfit(*np.nonzero(strip.T > 64), 1)[0] for strip in strips]))


def test_there_are_twelve_kinds_at_three_strengths(changed_strips: Any) -> None:
    assert tuple(changed_strips.KINDS) == KINDS
    assert all(len(set(kind.settings)) == 3 for kind in changed_strips.KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_leaves_strips_with_their_sums_and_grows_with_its_strength(
    changed_strips: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, count = load_digits("builtin"), 40 if kind in LINES else 20
    weak, strong = (changed_strips.changed(digits, kind, strength, count) for strength in (1, 3))
    again = changed_strips.changed(digits, kind, 3, count)
    for made in (weak, strong):
        assert made.images().shape == (count, 40, 168)
        assert made.images().dtype == np.uint8
        assert made.truth().shape == (count, 4)
        np.testing.assert_array_equal(made.truth().sum(1), made.sums)
    np.testing.assert_array_equal(weak.truth(), strong.truth())
    np.testing.assert_array_equal(again.images(), strong.images())
    np.testing.assert_array_equal(again.sums, strong.sums)

    if kind in LINES:  # places differ: both directions are measured
        size = fall if kind == "baseline" else extent
        sign = -1 if kind == "baseline" else 1
        first, second = (
            sign * (size(strong.images()[half]) - size(weak.images()[half]))
            for half in (slice(20), slice(20, 40))
        )
        assert first < 0 < second
    else:
        monkeypatch.setitem(changed_strips.KINDS, kind, changed_strips.Kind((None,) * 3))
        before = changed_strips.changed(digits, kind, 3, count).images().astype(float)
        by_one, by_three = (np.abs(made.images() - before).mean() for made in (weak, strong))
        assert 0 < 1.2 * by_one < by_three


def test_strokes_get_thinner_without_breaking_and_thicker_with_their_loops_open(
    changed_strips: Any,
) -> None:
    ring = np.zeros((1, 28, 28), np.uint8)
    ring[:, 5:23, 8:20] = 255
    ring[:, 9:19, 12:16] = 0  # strokes 4 pixels wide around a hole of 10 x 4
    for pen, change in ((1.5, changed_strips.thinner), (9.0, changed_strips.thicker)):
        made = change(ring, pen, 0)[0] > 64
        assert (made.sum() < (ring > 64).sum()) == (pen < 4)
        assert not made[9:19, 12:16].all()
        parts, holes = (changed_strips.ndimage.label(ink)[1] for ink in (made, ~made))
        assert (parts, holes) == (1, 2)  # the ring; what is around it and in it


def test_digits_may_be_blank(changed_strips: Any) -> None:
    blank = changed_strips.Digits(np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8))
    for kind in ("thinner", "thicker", "slant", "spacing"):
        made = changed_strips.changed(blank, kind, 3, 20)
        assert not made.images().any()


@pytest.mark.slow
def test_labels_are_those_of_the_strips(changed_strips: Any) -> None:
    loaded, digits = load_model("reader", "cpu", "fp32"), load_digits("builtin")
    for kind in KINDS:
        made = changed_strips.changed(digits, kind, 1, 20)
        found = changed_strips.predict_rows(loaded, made, np.arange(20))
        assert (found.digits == made.truth()).mean() > 0.7, kind


@pytest.mark.slow
def test_models_stand_beside_one_another(
    changed_strips: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page, kinds = tmp_path / "page.md", changed_strips.KINDS
    page.write_text("a\n<!-- changed_strips -->\nold\n<!-- /changed_strips -->\nb\n")
    monkeypatch.setattr(changed_strips, "PAGE", page)
    monkeypatch.setattr(changed_strips, "FILE", tmp_path / "found.json")
    monkeypatch.setattr(changed_strips, "STRIPS", 20)
    monkeypatch.setattr(changed_strips, "KINDS", {k: kinds[k] for k in ("contrast", "noise")})
    monkeypatch.setattr(changed_strips, "load_digits", lambda *_: load_digits("builtin"))
    for name in ("one", "two"):
        changed_strips.measure(name=name, mnist_root=None, device="cpu", precision="fp32")
    models = json.loads((tmp_path / "found.json").read_text())["models"]
    assert list(models) == ["one", "two"]
    one = models["one"]
    cells = [cell["exact-match %"] for kind in one["kinds"].values() for cell in kind]
    assert len(cells) == 6
    assert one["mean"]["exact-match %"] == pytest.approx(np.mean(cells))
    assert one["kinds"] == models["two"]["kinds"]
    lines = page.read_text().splitlines()
    assert lines[:2] == ["a", "<!-- changed_strips -->"]
    assert "old" not in lines
    assert "| exact-match % at strengths 1, 2, 3 | one | two |" in lines
    with pytest.raises(SystemExit, match="leave out --name"):
        changed_strips.measure(name="three", development=True)


def test_the_sheet_has_a_row_for_each_kind(
    changed_strips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_strips, "KINDS", {"contrast": changed_strips.KINDS["contrast"]})
    drawn = changed_strips.sheet(load_digits("builtin"), enlarged=1)
    assert drawn.size == (70 + 6 * 172, 2 * 44)
    plain, dim = (np.asarray(drawn)[top : top + 40, 70:238].max() for top in (0, 44))
    assert plain == 255
    assert dim == 153
