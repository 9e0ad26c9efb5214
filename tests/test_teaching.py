"""Ten strips teach a reader a hand on the spot, and the reader that was there stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from digitsum.checkpoint import load_checkpoint, save_checkpoint
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import DataError, UsageError
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import LoadedModel, load_model
from digitsum.training import teaching
from digitsum.training.augmentation import placed_anew
from digitsum.training.teaching import teach


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


def slanted(strips: int, seed: int, rows: slice) -> StripSet:
    """Strips of a hand whose digits lean by some 40 degrees, which the bundled weights misread."""
    digits = load_digits("builtin")
    images = np.zeros_like(digits.images[rows])
    for row in range(28):
        images[:, row] = np.roll(digits.images[rows, row], round(0.8 * (13.5 - row)), axis=1)
    hand = Digits(images, digits.labels[rows])
    return compose(hand, strips, seed=seed).as_strips("slanted")


def exact(model: LoadedModel, strips: StripSet) -> float:
    return evaluate(model, strips).splits["data"].exact_accuracy


@pytest.mark.slow
def test_ten_sums_teach_a_hand_and_the_model_before_is_untouched(
    reader: LoadedModel, tmp_path: Path
) -> None:
    ten, others = slanted(10, 1, slice(0, 200)), slanted(200, 2, slice(900, 1797))
    before = {name: weight.clone() for name, weight in reader.checkpoint.weights.items()}
    shares: list[float] = []
    lesson = teach(reader, list(ten.images()), ten.sums, on_share=shares.append)
    assert lesson.kept
    assert lesson.before < 10
    assert lesson.after >= lesson.before
    assert exact(lesson.model, others) > exact(reader, others) + 5
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    for name, weight in reader.checkpoint.weights.items():
        assert torch.equal(weight, before[name]), name
    save_checkpoint(lesson.model.checkpoint, tmp_path / "mine.pt")
    mine = load_model(tmp_path / "mine.pt", "cpu")
    assert exact(mine, others) == exact(lesson.model, others)
    assert "val" not in load_checkpoint(tmp_path / "mine.pt").metrics
    # layers that see strokes, and what batch norm knows, stay
    after, rest = mine.checkpoint.weights, ("features.0.", "features.5.")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not [name for name in moved if name.startswith(rest) or "running" in name]


def test_what_is_read_right_already_changes_nothing(reader: LoadedModel) -> None:
    known = compose("builtin", 5, seed=3)
    lesson = teach(reader, list(known.images), reader.predict_strips(known.images, 4).sum)
    assert lesson.model is reader
    assert (lesson.before, lesson.after, lesson.kept) == (5, 5, False)


@pytest.mark.parametrize("slack", [-1.0, 1.0])
def test_what_reads_known_hands_worse_or_the_ten_no_better_is_not_kept(
    reader: LoadedModel, monkeypatch: pytest.MonkeyPatch, slack: float
) -> None:
    """A slack of -1 nat no lesson meets; with one of 1 the same weights are no better."""
    monkeypatch.setattr(teaching, "SLACK", slack)
    monkeypatch.setattr(teaching, "KNOWN", 20)
    monkeypatch.setattr(teaching, "_learn", lambda start, *_: start.weights)
    known = compose("builtin", 5, seed=3)
    lesson = teach(reader, list(known.images), (known.sums + 1) % 37)
    assert lesson.model is reader
    assert not lesson.kept


def test_what_the_callable_raises_ends_the_lesson(reader: LoadedModel) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    known = compose("builtin", 5, seed=3)
    with pytest.raises(KeyboardInterrupt):
        teach(reader, list(known.images), (known.sums + 1) % 37, on_share=stop)


def test_what_is_no_lesson_is_refused(reader: LoadedModel) -> None:
    strips = list(compose("builtin", 2, seed=3).images)
    for given, sums in (([], []), (strips, [1]), (strips, [1, 37]), (strips, [-1, 1])):
        with pytest.raises(DataError, match=r"give one each|add up to 0\.\.36"):
            teach(reader, given, sums)
    other = replace(reader, checkpoint=replace(reader.checkpoint, arch="cnn"))
    with pytest.raises(UsageError, match="only a reader is taught"):
        teach(other, strips, [1, 1])


def test_strips_placed_anew_hold_what_they_held() -> None:
    strips = torch.from_numpy(compose("builtin", 50, seed=3, width=240).images)
    torch.manual_seed(0)
    moved = placed_anew(strips)
    assert moved.shape == strips.shape
    assert moved.dtype == torch.uint8
    ink = moved.float().sum((1, 2)) / strips.float().sum((1, 2))
    assert float(ink.mean()) == pytest.approx(1, abs=0.1)
    assert 0.03 < float(ink.std()) < 0.3
