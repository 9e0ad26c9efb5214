"""Losses on sums, all float32. Shapes: B strips.

A regression loss takes the values that a model estimates and the true sums, both (B,), and gives
the mean over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from digitsum.errors import RecipeError


def focal_l1(values: Tensor, sums: Tensor, beta: float = 0.2, gamma: float = 1.0) -> Tensor:
    """Mean of |e| * (2 * sigmoid(beta * |e|) - 1) ** gamma, e = values - sums, both (B,).

    The factor in brackets is 0 where the error is 0 and nears 1 as it grows, so strips that are
    nearly right pull less. Source: Focal-R, "Delving into Deep Imbalanced Regression", Yang et
    al., ICML 2021, as its authors published it in code.

    Args:
        values: Estimates of the sums.
        sums: True sums.
        beta: How soon the factor rises, per unit of error.
        gamma: Its power; 0 gives plain L1.
    """
    error = (values - sums).abs()
    # a power below one has no slope at 0, where the loss's own slope is 0
    factor = (2 * torch.sigmoid(beta * error) - 1).clamp(min=1e-12) ** gamma
    return (error * factor).mean()


def regression_loss(name: str, beta: float, gamma: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The regression loss of that name; `beta` and `gamma` are those of `focal_l1`.

    Raises:
        RecipeError: No loss has that name, or beta or gamma is negative or not finite.
    """
    for key, number in (("focal_beta", beta), ("focal_gamma", gamma)):
        if not 0 <= number < math.inf:
            raise RecipeError(f"{key}: {number} is not allowed: it must be a number from 0 up")
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "focal_l1": partial(focal_l1, beta=beta, gamma=gamma),
        "mse": F.mse_loss,
        "l1": F.l1_loss,
        "smooth_l1": F.smooth_l1_loss,
    }
    if name not in losses:
        raise RecipeError(f"loss: unknown value '{name}': choose from {', '.join(losses)}")
    return losses[name]
