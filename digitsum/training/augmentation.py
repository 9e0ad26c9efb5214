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


def placed_anew(strips: Tensor) -> Tensor:
    """Strips at another size and place: each is 10% larger or smaller, and moves a little.

    Args:
        strips: (B, H, W) uint8, with black around what is written.

    Returns:
        (B, H, W) uint8.
    """
    count, height, width = strips.shape
    size = (0.1 * torch.randn(count, 2)).exp()  # across and down, of what is read for a pixel
    reach = torch.tensor([2 * 14 / width, 2 * 6 / height])  # of 14 pixels and of 6
    move = reach * (2 * torch.rand(count, 2) - 1)
    places = torch.cat([torch.diag_embed(size), move[:, :, None]], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(places, [count, 1, height, width], align_corners=False)
    moved = F.grid_sample(strips[:, None].float(), grid, align_corners=False)
    return moved[:, 0].round().clamp(0, 255).to(torch.uint8)


def _cubic(points: int, size: int, **like: Any) -> Tensor:
    """Cubic interpolation from so many points to so many places, as a matrix (points, size).

    A product with it in each direction is what `F.interpolate` gives, in an eighth of the time.
    """
    each = torch.eye(points, **like)[None, None]
    return F.interpolate(each, size=(points, size), mode="bicubic", align_corners=True)[0, 0]
