"""What a model looks at in a strip, drawn the way that suits its architecture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from digitsum.inference import LoadedModel
from digitsum.models.cnn import Attention
from digitsum.models.reader import Reader
from digitsum.readings import Readings


@dataclass(frozen=True)
class Look:
    """A strip and a map of it."""

    kind: str  # attention, columns or saliency
    strip: NDArray[np.uint8]  # (40, W)
    map: NDArray[np.float32]  # (40, W) 0..1, or columns: (11, T) probabilities, nothing first
    reading: Readings  # of this one strip


def look(model: LoadedModel, strip: NDArray[np.uint8], digits_per_strip: int | None) -> Look:
    """What a model sees in a strip (40, W).

    `columns` for a reader: the probability of each digit in each column. `attention` for a model
    that has such a layer: its weights. `saliency` for any other: by how much the value changes
    with each pixel (Simonyan et al., 2014).
    """
    reading = model.read(strip[None], digits_per_strip)
    pixels = model.compute.strips(torch.from_numpy(strip[None].copy()))
    if isinstance(model.module, Reader):
        with torch.no_grad(), model.compute.autocast():
            seen = model.module(pixels)[0].exp().T  # (11, T)
        return Look("columns", strip, seen.float().cpu().numpy(), reading)
    layers = [layer for layer in model.module.modules() if isinstance(layer, Attention)]
    if layers:
        return Look("attention", strip, _attention(model.module, layers[-1], pixels), reading)
    return Look("saliency", strip, _saliency(model.module, pixels), reading)


def _attention(module: nn.Module, layer: Attention, pixels: Tensor) -> NDArray[np.float32]:
    """Weights of an attention layer, stretched to the strip, (40, W) 0..1."""
    weights: list[Tensor] = []
    handle = layer.weigh.register_forward_hook(lambda part, given, out: weights.append(out))
    try:
        with torch.no_grad():
            module(pixels)
    finally:
        handle.remove()
    size = [int(n) for n in pixels.shape[2:]]
    wide = F.interpolate(weights[-1].float(), size=size, mode="bilinear", align_corners=False)
    return np.asarray(wide[0, 0].cpu().numpy())


def _saliency(module: nn.Module, pixels: Tensor) -> NDArray[np.float32]:
    """|d value / d pixel|, a little smoothed, its highest 1, (40, W)."""
    pixels = pixels.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(module(pixels).sum(), pixels)
    size = F.avg_pool2d(gradient.abs(), 3, stride=1, padding=1)[0, 0]
    return np.asarray((size / size.max().clamp_min(1e-12)).float().cpu().numpy())
