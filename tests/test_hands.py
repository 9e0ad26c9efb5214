"""What the bundled weights learn other hands from: drawn digits, and strips in many hands."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from digitsum.datasets.digits import Digits, from_counts, load_digits

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from hands import extents, write_strips
from optdigits import optdigits
from pen import draw_digits


def test_the_pen_draws_the_ten_digits_alike_often_and_inside_their_image() -> None:
    drawn = draw_digits(200, np.random.default_rng(1))
    assert np.bincount(drawn.labels).tolist() == [20] * 10
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert (drawn.images[:, border] > 127).any(1).mean() < 0.05
    tall = extents(drawn.images)[:, 3]
    assert np.percentile(tall, 5) > 15
    assert np.percentile(tall, 95) < 27
    again = draw_digits(200, np.random.default_rng(1))
    assert (again.images == drawn.images).all()


def test_drawn_digits_are_what_their_label_says() -> None:
    # nearest in pixels among scikit-learn's digits: far above chance for all forms together
    drawn, known = draw_digits(300, np.random.default_rng(2)), load_digits("builtin")
    a, b = (each.images.reshape(len(each.images), -1).astype(np.float32) for each in (drawn, known))
    distance = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    assert (known.labels[distance.argmin(1)] == drawn.labels).mean() > 0.6


def test_strips_in_many_hands_have_the_sums_of_their_digits() -> None:
    made = write_strips(load_digits("builtin"), 120, np.random.default_rng(3))
    assert made.images.shape == (120, 40, 168)
    shown = made.digits >= 0
    assert (made.counts == shown.sum(1)).all()
    assert (made.sums == np.where(shown, made.digits, 0).sum(1)).all()
    assert set(made.counts.tolist()) == {1, 2, 3, 4, 5, 6}
    again = write_strips(load_digits("builtin"), 120, np.random.default_rng(3))
    assert (again.images == made.images).all()


def test_no_digit_of_a_strip_is_lost() -> None:
    # one digit a strip: a full square, which stays nearly as large as the hand is high
    square = np.zeros((1, 28, 28), np.uint8)
    square[:, 4:24, 4:24] = 255
    strips = write_strips(
        Digits(square, np.ones(1, np.uint8)), 60, np.random.default_rng(4), (1, 1)
    )
    inked = (strips.images > 100).sum((1, 2))
    assert (inked > 60).all()  # 20x20 pixels before, at least 10 high after


def test_coarse_digits_are_drawn_as_those_of_scikit_learn(tmp_path: Path) -> None:
    bits = np.zeros((2, 32, 32), np.uint8)
    bits[0, 4:28, 8:24] = 1
    bits[1, ::2] = 1  # every block of it counts 8
    np.savez(tmp_path / "few.npz", bitmaps=np.packbits(bits, axis=2), labels=np.array([3, 7]))
    made = optdigits(tmp_path / "few.npz", coarse=True)
    counts = bits.reshape(2, 8, 4, 8, 4).sum((2, 4))
    assert (counts[1] == 8).all()
    assert (made.images == from_counts(counts.astype(float))).all()
    assert made.labels.tolist() == [3, 7]
    assert not (made.images == optdigits(tmp_path / "few.npz").images).all()
