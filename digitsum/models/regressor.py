"""What `cnn` and `resnet` share: one value for each strip, a loss by name, the nearest sum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from digitsum.errors import DataError
from digitsum.losses import regression_loss
from digitsum.models.base import Architecture
from digitsum.predictions import Predictions


class Regressor(Architecture):
    """A backbone (B, 1, H, W) -> (B, F) and a float32 head (B, F) -> (B, 1).

    Subclasses set `backbone` and `head`. The head stays in float32 under autocast: a bf16 head
    would round 17.44 to 17.5.

    Args:
        width: Width of the strips that the model is trained on, and takes, in pixels.
        loss: Name of a loss in `digitsum.losses`.
        focal_beta: See `losses.focal_l1`.
        focal_gamma: See `losses.focal_l1`.
    """

    export_names = ("value", "sum")
    uses_digit_count = False

    backbone: nn.Module
    head: nn.Module

    def __init__(
        self, width: int, loss: str = "l1", focal_beta: float = 0.2, focal_gamma: float = 1.0
    ) -> None:
        super().__init__(width)
        self.criterion = regression_loss(loss, focal_beta, focal_gamma)

    def forward(self, strips: Tensor) -> Tensor:
        """(B, 1, H, W) float32 in 0..1 -> (B,) float32 values.

        Raises:
            DataError: The strips are not of the width that the model was trained on.
        """
        if strips.shape[-1] != self.width:
            raise DataError(
                f"strips are {strips.shape[-1]} pixels wide: this model was trained on "
                f"{self.width} and takes no other; cut or pad the strips to {self.width}"
            )
        features = self.backbone(strips)
        with torch.autocast(strips.device.type, enabled=False):
            values: Tensor = self.head(features.float())
        return values.squeeze(1)

    def loss(self, outputs: Tensor, sums: Tensor, progress: float | Tensor) -> Tensor:
        """Mean loss of values (B,) against sums (B,); the same at any progress."""
        return self.criterion(outputs, sums)

    def predict(self, outputs: Tensor, digits_per_strip: int | None = None) -> Predictions:
        """Values (B,) rounded half to even, as NumPy does; the digit count plays no part."""
        value = outputs.float().cpu().numpy()
        with np.errstate(invalid="ignore"):  # whoever asked refuses values that are no numbers
            return Predictions(value=value, sum=np.rint(value).astype(np.int64))

    def differentiable_value(self, outputs: Tensor) -> Tensor:
        """The values themselves."""
        return outputs

    def export(self, outputs: Tensor, digits_per_strip: int | None) -> tuple[Tensor, ...]:
        """`value` (B,) float32 and `sum` (B,) int64."""
        return outputs, outputs.round().long()
