"""What a model looks at in a strip, as a map that suits its architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from digitsum.ambient import default_settings
from digitsum.inference import DigitCount, LoadedModel
from digitsum.predictions import Prediction


@dataclass(frozen=True)
class Explanation:
    """A strip, what was predicted for it, and a map of it, if the model has one."""

    kind: Literal["columns", "attention", "saliency", "none"]
    strip: NDArray[np.uint8]  # (40, W)
    map: NDArray[np.float32] | None  # (40, W) in 0..1; for columns (11, T), blank first
    prediction: Prediction


@default_settings()
def explain(
    model: LoadedModel, strip: NDArray[np.uint8], digits_per_strip: DigitCount = None
) -> Explanation:
    """What a model sees in a strip (40, W); for the digit count see `LoadedModel.predict`.

    `columns`: the probability of each digit in each column, of a model that has columns.
    `attention`: the weights of places, of a model that has such a layer. `saliency`: by how much
    the value changes with each pixel (Simonyan et al., 2014), of a model whose value has a
    gradient. `none` for any other.
    """
    known = model.digit_count(digits_per_strip)
    (prediction,), columns = model.predict_with_columns(strip[None], known)
    if columns is not None:
        seen = columns[0].T.numpy()  # (11, T)
        return Explanation("columns", strip, seen, prediction)
    pixels = model.device.normalize(torch.from_numpy(strip[None].copy()))
    with torch.no_grad():
        weights = model.module.attention_map(pixels)
    if weights is not None:
        return Explanation("attention", strip, _stretched(weights, strip.shape), prediction)
    saliency = _saliency(model, pixels)
    kind: Literal["saliency", "none"] = "none" if saliency is None else "saliency"
    return Explanation(kind, strip, saliency, prediction)


def _stretched(weights: Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights of places (1, 1, h, w) stretched to the strip, (40, W)."""
    wide = F.interpolate(weights.float(), size=list(shape), mode="bilinear", align_corners=False)
    return np.asarray(wide[0, 0].cpu().numpy())


def _saliency(model: LoadedModel, pixels: Tensor) -> NDArray[np.float32] | None:
    """|d value / d pixel|, a little smoothed, its highest 1, (40, W); None without a gradient."""
    pixels = pixels.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = model.module.differentiable_value(model.module(pixels))
        if value is None:
            return None
        (gradient,) = torch.autograd.grad(value.sum(), pixels)
    size = F.avg_pool2d(gradient.abs(), 3, stride=1, padding=1)[0, 0]
    return np.asarray((size / size.max().clamp_min(1e-12)).float().cpu().numpy())
