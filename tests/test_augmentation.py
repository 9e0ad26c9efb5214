"""Warped strips: bent by as much as asked, each in its own way, nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from digitsum.training.augmentation import _cubic, warp


def test_no_shift_changes_nothing() -> None:
    strips = torch.rand(3, 1, 40, 168)
    torch.testing.assert_close(warp(strips, 0.0), strips, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pixels", [0.5, 1.5])
@pytest.mark.parametrize("axis", [2, 3], ids=["down", "across"])
def test_points_are_shifted_by_as_much_as_is_asked(pixels: float, axis: int) -> None:
    """A ramp tells by its grey where a pixel came from; (7, 21) is a point of the grid."""
    torch.manual_seed(0)
    size = (15, 43)
    ramp = torch.arange(0.0, size[axis - 2]).view([-1 if a == axis else 1 for a in range(4)])
    moved = warp(ramp.expand(4000, 1, *size).contiguous(), pixels)[:, 0, 7, 21]
    shifts = moved - (7, 21)[axis - 2]
    assert abs(float(shifts.mean())) < 0.1 * pixels
    assert float(shifts.std()) == pytest.approx(pixels, rel=0.06)


def test_each_strip_is_bent_in_its_own_way_and_a_seed_repeats_it() -> None:
    strips = torch.rand(1, 1, 40, 60).expand(2, -1, -1, -1).contiguous()
    torch.manual_seed(3)
    first = warp(strips, 1.0)
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(3)
    assert torch.equal(warp(strips, 1.0), first)


def test_black_stays_black_and_no_grey_is_made_up() -> None:
    assert not warp(torch.zeros(2, 1, 40, 100), 3.0).any()
    moved = warp(torch.rand(4, 1, 40, 100), 3.0)
    assert moved.shape == (4, 1, 40, 100)
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-6


def test_the_matrices_interpolate_as_pytorch_does() -> None:
    points, size = torch.randn(3, 2, 4, 13), (40, 168)
    expected = F.interpolate(points, size=size, mode="bicubic", align_corners=True)
    found = _cubic(4, 40).T @ points @ _cubic(13, 168)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
