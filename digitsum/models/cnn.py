"""The attention CNN of the technical report (2.2): 159,298 parameters."""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn

from digitsum.errors import RecipeError
from digitsum.models.regressor import Regressor


class Attention(nn.Module):
    """Weighs every place of a feature map: x * sigmoid(conv1x1(x)), (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Conv2d(channels, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * cast(Tensor, self.weigh(x))


def conv_bn(inputs: int, outputs: int) -> list[nn.Module]:
    """3x3 convolution and batch norm; height and width are kept."""
    return [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.BatchNorm2d(outputs)]


class AttentionCNN(Regressor):
    """Three convolutions, attention, global average pooling, three linear layers.

    Args:
        width: Width of the strips in pixels.
        dropout: Share of units dropped after each hidden layer of the head, 0..1.
        loss: Name of a loss in `digitsum.losses`.
        focal_beta: See `losses.focal_l1`.
        focal_gamma: See `losses.focal_l1`.

    Raises:
        RecipeError: An option is not allowed.
    """

    folds_batch_norm = True
    replayable = True

    backbone: nn.Sequential

    def __init__(
        self,
        width: int,
        dropout: float = 0.5,
        loss: str = "focal_l1",
        focal_beta: float = 0.2,
        focal_gamma: float = 1.0,
    ) -> None:
        super().__init__(width, loss, focal_beta, focal_gamma)
        if not 0 <= dropout < 1:
            raise RecipeError(f"dropout: {dropout} is not allowed: it must be in 0..1, below 1")
        self.backbone = nn.Sequential(  # (B, 1, H, W) -> (B, 128)
            *conv_bn(1, 32),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),  # after pooling: the same function, on a quarter of the places
            *conv_bn(32, 64),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            *conv_bn(64, 128),
            nn.ReLU(inplace=True),
            Attention(128),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(128, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(128, 1),
        )

    def attention_map(self, strips: Tensor) -> Tensor:
        """What the attention layer multiplies each place of its feature map by, (B, 1, h, w)."""
        before = itertools.takewhile(lambda layer: not isinstance(layer, Attention), self.backbone)
        features = nn.Sequential(*before)(strips)
        (attention,) = (layer for layer in self.backbone if isinstance(layer, Attention))
        return cast(Tensor, attention.weigh(features))
