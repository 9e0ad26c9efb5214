"""What `cnn` and `resnet` share: one value per strip, a loss by name, the nearest sum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from digitsum.errors import DataError
from digitsum.losses import regression_loss
from digitsum.readings import Readings


class Regressor(nn.Module):
    """A backbone (B, 1, H, W) -> (B, F) and a float32 head (B, F) -> (B, 1).

    Subclasses set `backbone` and `head`. The head stays in float32 under autocast: a bf16 head
    would round 17.44 to 17.5.

    Args:
        width: Columns of the strips that the model is trained on, and takes.
        loss: Name of a loss in `digitsum.losses`.
        focal_beta: See `losses.focal_l1`.
        focal_gamma: See `losses.focal_l1`.
    """

    backbone: nn.Module
    head: nn.Module

    def __init__(self, width: int, loss: str, focal_beta: float, focal_gamma: float) -> None:
        super().__init__()
        self.width = width
        self.criterion = regression_loss(loss, focal_beta, focal_gamma)

    def forward(self, strips: Tensor) -> Tensor:
        """(B, 1, H, W) float32 in 0..1 -> (B,) float32 values.

        Raises:
            DataError: The strips are not of the width that the model was trained on.
        """
        if strips.shape[-1] != self.width:
            raise DataError(
                f"strips are {strips.shape[-1]} columns wide: this model was trained on "
                f"{self.width} and takes no other; cut or pad the strips to {self.width}"
            )
        features = self.backbone(strips)
        with torch.autocast(strips.device.type, enabled=False):
            values: Tensor = self.head(features.float())
        return values.squeeze(1)

    def loss(self, outputs: Tensor, sums: Tensor, progress: float) -> Tensor:
        """Mean loss of values (B,) against sums (B,); the same at any progress."""
        return self.criterion(outputs, sums)

    def read(self, outputs: Tensor, digits_per_strip: int | None = None) -> Readings:
        """Values (B,) rounded half to even, as NumPy does. The digit count has no say."""
        value = outputs.float().cpu().numpy()
        return Readings(value=value, sum=np.rint(value).astype(np.int64))
