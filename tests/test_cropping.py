"""Crops of strips: nothing that is written is lost, and a strip is cut the same in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import build
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from digitsum.cropping import (
    ALIGNED,
    COARSE,
    DIGIT,
    MARGIN,
    STEP,
    cropped_batches,
    crops_on,
    random_crop,
    written,
)
from digitsum.datasets.strips import ROWS, StripSet
from digitsum.datasets.synthesis import Composition
from digitsum.errors import RecipeError
from digitsum.inference import LoadedModel, load_model
from digitsum.models import resolve_options
from digitsum.recipe import Recipe
from digitsum.training.data import TrainingData
from digitsum.training.distributed import World

CPU = torch.device("cpu")


@st.composite
def blots(draw: st.DrawFn) -> Tensor:
    """Strips (N, 40, W) of which each is black but for a blot, or all black."""
    width = draw(st.integers(4, 200))
    strips = torch.zeros(draw(st.integers(1, 12)), ROWS, width, dtype=torch.uint8)
    for strip in strips:
        first, last = sorted(draw(st.tuples(*[st.integers(0, width)] * 2)))
        strip[draw(st.integers(0, ROWS - 1)), first:last] = draw(st.integers(1, 255))
    return strips


def test_what_is_written_is_found() -> None:
    strips = torch.zeros(3, ROWS, 50, dtype=torch.uint8)
    strips[0, 3, 7], strips[0, 39, 20] = 1, 255
    strips[1] = 9
    first, last = written(strips)
    assert first.tolist() == [7, 0, 0]
    assert last.tolist() == [21, 50, 50]  # of the black one too: it is left whole


@given(blots(), st.integers(1, 5), st.integers(0, 6))
def test_batches_hold_each_strip_once_and_all_that_is_written(
    strips: Tensor, size: int, digits: int
) -> None:
    width = strips.shape[2]
    seen = torch.zeros(len(strips), dtype=torch.int64)
    for batch in cropped_batches(strips, size, crop=True, digits=digits):
        seen[batch.rows] += 1
        kept = batch.strips.shape[2]
        assert len(batch.rows) == len(batch.left) == len(batch.strips) <= size
        assert min(DIGIT * digits, width) <= kept <= width
        assert (width - kept) % COARSE == 0
        for row, left, strip in zip(*batch, strict=True):
            assert left % ALIGNED == 0
            whole = strips[row].clone()
            assert torch.equal(strip, whole[:, left : left + kept])
            whole[:, left : left + kept] = 0
            assert not whole.any()
            first, last = (int(end) for end in written(strips[row : row + 1]))
            assert left <= max(first - MARGIN, 0)  # and the margin is there, where the strip has it
            assert left + kept >= min(last + MARGIN, width)
    assert seen.tolist() == [1] * len(strips)


@given(blots())
def test_a_strip_is_cut_the_same_in_any_company(strips: Tensor) -> None:
    together = {
        int(row): (int(left), strip)
        for batch in cropped_batches(strips, 100, crop=True)
        for row, left, strip in zip(*batch, strict=True)
    }
    for row in range(len(strips)):
        (alone,) = cropped_batches(strips[row : row + 1], 100, crop=True)
        assert int(alone.left[0]) == together[row][0]
        assert torch.equal(alone.strips[0], together[row][1])


@pytest.mark.parametrize("number", [0, 5])
def test_whole_strips_are_left_as_they_are(number: int) -> None:
    strips = torch.zeros(number, ROWS, 60, dtype=torch.uint8)
    found = list(cropped_batches(strips, 2, crop=False))
    assert torch.equal(torch.cat([batch.strips for batch in found]), strips)
    assert torch.cat([batch.rows for batch in found]).tolist() == list(range(number))
    assert not torch.cat([batch.left for batch in found]).any()


@given(blots(), st.integers(0, 20), st.integers(0, 6))
def test_a_random_crop_loses_black_alone(strips: Tensor, margin: int, digits: int) -> None:
    cut = random_crop(strips, margin, digits)
    kept, width = cut.shape[2], strips.shape[2]
    first, last = written(strips)
    longest = int((last - first).max())
    assert min(max(longest, DIGIT * digits), width) <= kept <= width
    assert kept < max(longest + 2 * margin, DIGIT * digits) + STEP
    assert torch.equal(cut.sum((1, 2)), strips.sum((1, 2)))
    begins, ends = written(cut)
    roomy = torch.minimum(first, width - last) >= margin  # it has the margin on both sides
    roomy &= last - first + 2 * margin <= kept
    assert (begins[roomy] >= margin).all()
    assert (kept - ends[roomy] >= margin).all()


def test_random_crops_differ_and_a_seed_repeats_them() -> None:
    strips = torch.zeros(50, ROWS, 168, dtype=torch.uint8)
    strips[:, 10, 70:90] = 255
    strips[0, 10, 30:130] = 255  # which gives the others room
    torch.manual_seed(1)
    made = random_crop(strips, 8, 1)
    assert len(written(made)[0].unique()) > 20
    torch.manual_seed(1)
    assert torch.equal(random_crop(strips, 8, 1), made)


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu", "fp32")


def test_a_reader_reads_the_same_with_and_without_the_black(
    reader: LoadedModel, made: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips = np.pad(made.images, ((0, 0), (0, 0), (40, 60)))
    found, columns = reader.predict_with_columns(strips, 2)
    monkeypatch.setattr(type(reader.module), "crops", False)
    whole, whole_columns = reader.predict_with_columns(strips, 2)
    np.testing.assert_array_equal(found.sum, whole.sum)
    np.testing.assert_array_equal(found.digits, whole.digits)
    np.testing.assert_allclose(found.positions, whole.positions, atol=ALIGNED)
    assert columns is not None
    assert whole_columns is not None
    assert columns.shape == whole_columns.shape == (60, 46, 11)
    assert (columns - whole_columns).abs().mean() < 1e-3
    torch.testing.assert_close(columns.sum(2), torch.ones(60, 46))


def test_a_strip_is_read_the_same_in_any_company(reader: LoadedModel, made: Composition) -> None:
    strips = np.pad(made.images[:9], ((0, 0), (0, 0), (20, 90)))
    together = reader.predict_strips(strips, 2)
    for row, strip in enumerate(strips):
        alone = reader.predict_strips(strip[None], 2)
        assert alone.confidence is not None
        assert together.confidence is not None
        assert alone.confidence[0] == pytest.approx(together.confidence[row], abs=1e-5)
        assert alone.digits is not None
        assert together.digits is not None
        assert alone.digits[0].tolist() == together.digits[row].tolist()


def test_counts_find_their_strips(reader: LoadedModel, made: Composition) -> None:
    """Of strips that are cut to different widths, each with a number of digits of its own."""
    two = np.pad(made.images, ((0, 0), (0, 0), (0, 100)))
    four = np.concatenate([made.images[:30], made.images[30:]], axis=2)
    wide = np.pad(four, ((0, 0), (0, 0), (0, two.shape[2] - four.shape[2])))
    strips = np.concatenate([two[:30], wide])[::-1]
    sums = np.concatenate([made.sums[:30], made.sums[:30] + made.sums[30:]])[::-1]
    counts = np.array([4] * 30 + [2] * 30)
    found = reader.predict_strips(strips, None, counts)
    assert (found.sum == sums).mean() > 0.9
    assert found.digits is not None
    assert ((found.digits >= 0).sum(1) == counts).all()


def training_data(images: NDArray[np.uint8], label: int = 9, **keys: object) -> TrainingData:
    recipe = resolve_options(Recipe.from_dict({"arch": "reader", "batch_size": 8, **keys}))
    images[:, 0, 80] = np.arange(len(images)) // 255 + 1  # so that no two are alike
    images[:, 1, 80] = np.arange(len(images)) % 255 + 1
    strips = StripSet.from_arrays(images, np.full(len(images), label), "made")
    return TrainingData(strips, recipe, CPU, World())


def test_strips_of_like_length_share_a_batch() -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((400, ROWS, 168), np.uint8)
    for image, length in zip(images, rng.integers(20, 140, 400), strict=True):
        image[rng.integers(ROWS), 14 : 14 + length] = 255
    data = training_data(images, crop=8)
    orders = [torch.cat(list(data.shuffled())) for _ in range(2)]
    for order in orders:
        assert sorted(order.tolist()) == sorted(data.train.tolist())
    assert not torch.equal(*orders)
    widths = [data.strips(rows).shape[2] for rows in data.shuffled()]
    mixed = [data.strips(rows).shape[2] for rows in torch.from_numpy(data.train).split(8)]
    assert np.mean(widths) < np.mean(mixed) - 20
    assert max(widths) <= 168
    plain = training_data(images, crop=0)
    assert {plain.strips(rows).shape[2] for rows in plain.shuffled()} == {168}


def test_columns_for_all_digits_are_kept() -> None:
    images = np.zeros((40, ROWS, 168), np.uint8)
    images[:, 5, 80] = 255
    rows = torch.arange(8)
    assert training_data(images, crop=8, digits_per_strip=7).strips(rows).shape[2] == 7 * DIGIT
    unknown = training_data(images, 50, crop=8, digits_per_strip="any")  # 50 takes six digits
    assert unknown.strips(rows).shape[2] == 6 * DIGIT


def test_whole_strips_are_for_a_gpu_and_for_architectures_of_one_width() -> None:
    assert crops_on(CPU)
    assert not crops_on(torch.device("cuda"))
    for arch, takes in (("cnn", False), ("resnet", False), ("reader", True)):
        assert build(arch, 84).crops is takes
    with pytest.raises(RecipeError, match="crop: 8 is not allowed: cnn takes whole strips; give 0"):
        resolve_options(Recipe.from_dict({"arch": "cnn", "crop": 8}))


def test_a_checkpoint_from_before_has_whole_strips() -> None:
    """And the options that it has, not those that recipes have come to hold since."""
    now = Recipe.from_dict({"arch": "reader", "crop": 8, "pct_start": 0.1})
    then = {k: v for k, v in now.to_dict().items() if k not in ("crop", "pct_start", "size")}
    found = Recipe.from_dict(then)
    assert (found.crop, found.pct_start) == (0, 0.3)
    assert "size" not in found.options
