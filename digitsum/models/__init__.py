"""The architectures, by name.

An architecture is an `nn.Module` built as `Class(width, **options)`, with three methods, and
nothing outside this package knows more of it:

    forward(strips) -> outputs                   strips (B, 1, H, W) float32 in 0..1
    loss(outputs, sums, progress) -> scalar      sums (B,) float32, progress 0..1 over the run
    read(outputs, digits_per_strip) -> Readings

To add one: a file here, a row in `ARCHITECTURES`, and `recipes/NAME.yaml`, whose keys past the
common ones are the options of its constructor. Importing this module loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from digitsum.errors import CheckpointError, DigitsumError, RecipeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

ARCHITECTURES = {
    "cnn": "digitsum.models.cnn:AttentionCNN",
    "resnet": "digitsum.models.resnet:ResNet50",
    "reader": "digitsum.models.reader:Reader",
}


def architecture(arch: str) -> type[nn.Module]:
    """The class behind a name.

    Raises:
        UsageError: The name is not in the table.
    """
    if arch not in ARCHITECTURES:
        raise UsageError(f"unknown architecture '{arch}': choose from {', '.join(ARCHITECTURES)}")
    module, _, name = ARCHITECTURES[arch].partition(":")
    cls: type[nn.Module] = getattr(import_module(module), name)
    return cls


def create(arch: str, width: int, options: Mapping[str, Any], pretrained: bool = True) -> nn.Module:
    """A fresh model for strips `width` columns wide, initialised from torch's global seed.

    Args:
        arch: Name of the architecture.
        width: Columns of the strips.
        options: The architecture's own keys of a recipe.
        pretrained: Whether an option called `weights`, which says where a fresh model starts,
            has its say. It has none where other weights go over the model's anyway.

    Raises:
        UsageError: No architecture has that name.
        RecipeError: An option is unknown or not allowed.
        WeightsError: Pretrained weights were asked for and cannot be had.
    """
    cls = architecture(arch)
    if "weights" in options and not pretrained:
        options = {**options, "weights": "none"}
    try:
        return cls(width, **options)
    except DigitsumError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{arch} cannot be built from this recipe: {error}") from error


def restore(
    arch: str, width: int, options: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> nn.Module:
    """The model that `weights` belong to, in evaluation mode on the CPU.

    It is laid out without memory first, so names and shapes are compared before anything is
    allocated.

    Raises:
        CheckpointError: Names or shapes differ from the architecture's.
    """
    import torch

    with torch.device("meta"):
        model = create(arch, width, options, pretrained=False)
    expected = model.state_dict()
    if problem := _difference(expected, weights):
        raise CheckpointError(f"weights do not fit the architecture '{arch}': {problem}")
    model.load_state_dict({name: weights[name].clone() for name in expected}, assign=True)
    return model.requires_grad_().eval()


def _difference(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> str | None:
    """The first way in which two state dicts differ in names, shapes or types; None if none."""
    for name in expected:
        if name not in found:
            return f"'{name}' is missing"
    for name, tensor in found.items():
        if name not in expected:
            return f"'{name}' is unknown"
        if tensor.shape != expected[name].shape:
            want, have = tuple(expected[name].shape), tuple(tensor.shape)
            return f"'{name}' has shape {have}, expected {want}"
        if tensor.dtype != expected[name].dtype:
            return f"'{name}' holds {tensor.dtype}, expected {expected[name].dtype}"
    return None
