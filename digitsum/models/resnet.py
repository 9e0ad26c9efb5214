"""ResNet-50 for strips (technical report 2.2): one channel, one value, 23,503,809 parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from digitsum.errors import CheckpointError, RecipeError, WeightsError
from digitsum.file_kinds import CHECKPOINT, obstacle, recognized
from digitsum.models.regressor import Regressor
from digitsum.torch_files import load_tensors
from digitsum.torchvision_access import announced_on_stderr, torchvision, unreachable


class ResNet50(Regressor):
    """torchvision's ResNet-50, its first convolution for grey strips, its last layer one value.

    Args:
        width: Width of the strips in pixels.
        first_conv: What becomes of the first convolution's pretrained kernels.
            `sum` adds the three RGB kernels into one, which responds to a grey image as the three
            do to its RGB copy, and takes that of grey weights as it is; `fresh` keeps the kernels
            that the model was initialised with.
        loss: Name of a loss in `digitsum.losses`.
        focal_beta: See `losses.focal_l1`.
        focal_gamma: See `losses.focal_l1`.

    Raises:
        RecipeError: `first_conv` is unknown.
        InstallationError: torchvision cannot be imported.
    """

    folds_batch_norm = True
    replayable = True

    def __init__(
        self,
        width: int,
        first_conv: str = "sum",
        loss: str = "mse",
        focal_beta: float = 0.2,
        focal_gamma: float = 1.0,
    ) -> None:
        super().__init__(width, loss, focal_beta, focal_gamma)
        if first_conv not in ("sum", "fresh"):
            raise RecipeError(f"first_conv: {first_conv!r} is not allowed: it must be sum or fresh")
        backbone = torchvision("models").resnet50(weights=None)
        backbone.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        backbone.fc = nn.Identity()
        self.backbone = backbone  # (B, 1, H, W) -> (B, 2048)
        self.head = nn.Linear(2048, 1)
        self.first_conv = first_conv

    def load_pretrained(self, weights: str) -> None:
        """Takes ImageNet weights into the backbone; all parameters train from there.

        Args:
            weights: `imagenet` (torchvision's `IMAGENET1K_V1`), or the path of a state dict in
                torchvision's format.

        Raises:
            WeightsError: The weights cannot be had, or are not a ResNet-50's.
        """
        state = imagenet_weights() if weights == "imagenet" else weights_file(Path(weights))
        load_backbone(self.backbone, state, self.first_conv, weights)


def load_backbone(
    backbone: nn.Module, state: dict[str, Tensor], first_conv: str, source: str
) -> None:
    """Puts torchvision's weights into the backbone; the 1,000-class layer is left out.

    Raises:
        WeightsError: Names or shapes are not those of torchvision's ResNet-50.
    """
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise WeightsError(f"{source} holds no state dict: give one in torchvision's format")
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    first = state.get("conv1.weight")
    if not isinstance(first, Tensor) or first.shape not in ((64, 3, 7, 7), (64, 1, 7, 7)):
        seen = f"is {tuple(first.shape)}" if isinstance(first, Tensor) else "is missing"
        raise WeightsError(
            f"{source} is not a ResNet-50 of torchvision's: conv1.weight {seen}, and must be "
            "(64, 3, 7, 7), or (64, 1, 7, 7) for grey pictures"
        )
    fresh = backbone.get_parameter("conv1.weight").detach()
    # the kernels of a grey one are their own sum
    state["conv1.weight"] = first.sum(dim=1, keepdim=True) if first_conv == "sum" else fresh
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()
        raise WeightsError(f"{source} is not a ResNet-50 of torchvision's: {detail}") from error


def weights_file(path: Path) -> dict[str, Tensor]:
    """A state dict from a file; nothing in it is executed.

    Raises:
        WeightsError: The file is missing, damaged, or holds anything but tensors.
    """
    if reason := obstacle(path):
        raise WeightsError(
            f"weights: {path} {reason}; give imagenet, none, or a file in torchvision's format"
        )
    try:
        state: dict[str, Tensor] = load_tensors(path, legacy=True)
    except CheckpointError as error:
        raise WeightsError(f"weights: {error}") from error
    except Exception as error:
        if kind := recognized(path, CHECKPOINT):
            raise WeightsError(f"weights: {path} is {kind}") from error
        raise WeightsError(
            f"weights {path} are damaged or hold more than tensors: give a state dict in "
            "torchvision's format"
        ) from error
    return state


def imagenet_weights() -> dict[str, Tensor]:
    """`IMAGENET1K_V1` through torchvision and its cache, a download verified by its hash.

    Raises:
        WeightsError: They are not cached and cannot be downloaded.
    """
    weights = torchvision("models").ResNet50_Weights.IMAGENET1K_V1
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / weights.url.rpartition("/")[2]
    advice = f"put {file.name} into {folder}, or train with --weights none or --weights PATH"
    if not file.exists() and (reason := unreachable(weights.url)):
        raise WeightsError(
            f"ImageNet weights are not cached and cannot be downloaded ({reason}): {advice}"
        )
    try:
        with announced_on_stderr():
            state: dict[str, Tensor] = weights.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
    except Exception as error:  # torch raises many kinds on damaged files, none documented
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"ImageNet weights cannot be used ({reason}): {advice}") from error
    return state
