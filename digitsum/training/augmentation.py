"""Changes to training strips that leave their sum as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PITCH = 14  # pixels between the points whose shifts are drawn: half a digit's box


def warp(strips: Tensor, pixels: float) -> Tensor:
    """Elastic distortion (Simard et al., 2003), another one for each strip.

    Points on a coarse grid are shifted at random, and what lies between them follows smoothly:
    digits turn, lean, grow and move a little, each by itself.

    Args:
        strips: (B, 1, H, W), 0 where nothing is written.
        pixels: Standard deviation of a point's shift, down and across. Up to some 1.5 digits stay
            what they are.

    Returns:
        (B, 1, H, W), interpolated linearly; 0 comes in from outside.
    """
    count, _, height, width = strips.shape
    like: dict[str, Any] = {"device": strips.device, "dtype": strips.dtype}
    points = (count, 2, -(-height // PITCH) + 1, -(-width // PITCH) + 1)
    shifts = pixels * torch.randn(points, **like)
    along = [_cubic(points[side], size, **like) for side, size in ((2, height), (3, width))]
    across, down = (along[0].T @ shifts @ along[1]).unbind(1)
    x = torch.arange(0.5, width, **like) + across  # pixels from the left edge
    y = torch.arange(0.5, height, **like)[:, None] + down
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)
    return F.grid_sample(strips, grid, mode="bilinear", align_corners=False)


def _cubic(points: int, size: int, **like: Any) -> Tensor:
    """Cubic interpolation from so many points to so many places, as a matrix (points, size).

    A product with it in each direction is what `F.interpolate` gives, in an eighth of the time.
    """
    each = torch.eye(points, **like)[None, None]
    return F.interpolate(each, size=(points, size), mode="bicubic", align_corners=True)[0, 0]
