"""Optimizers, learning-rate schedules and averages of weights, as a recipe asks for them."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from digitsum.device import DeviceConfig
from digitsum.recipe import Recipe

Model = TypeVar("Model", bound=nn.Module)


def make_optimizers(
    recipe: Recipe, model: nn.Module, device: DeviceConfig | None = None
) -> list[Optimizer]:
    """The optimizers that the recipe asks for; together they hold all parameters of the model.

    `muon` is AdamW for most parameters and Muon for the kernels of convolutions. Kernels of one
    input channel stay with AdamW.

    Args:
        recipe: Names the optimizer, its learning rate and its weight decay.
        model: In training; it is where the device says.
        device: Replays the many small operations of Muon, where it can.
    """
    keys: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    parameters = list(model.parameters())
    if recipe.optimizer != "muon":
        kind = AdamW if recipe.optimizer == "adamw" else Adam
        return [kind(parameters, **keys, fused=True)]
    kernels = [p for p in parameters if p.ndim == 4 and p.shape[1] > 1]
    chosen = {id(kernel) for kernel in kernels}
    others = [p for p in parameters if id(p) not in chosen]
    optimizers: list[Optimizer] = [AdamW(others, **keys, fused=True)] if others else []
    return [*optimizers, KernelMuon(kernels, **keys, device=device)] if kernels else optimizers


class KernelMuon(Optimizer):
    """Muon for kernels of convolutions.

    Muon (Jordan et al., 2024) takes a kernel as a matrix of one row for each output channel and
    makes all directions of its step equally long. Steps are scaled to the size of AdamW's (Liu et
    al., 2025), so that one learning rate serves both.

    Args:
        kernels: (C_out, C_in, h, w) each.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        device: Replays what does not depend on the learning rate, where it can.
    """

    # torch's takes matrices alone, and a kernel in channels-last cannot be seen as one. So its step
    # at rate 1 from a matrix of zeros gives the direction, and the kernel is moved here.
    DIRECTION: ClassVar[dict[str, Any]] = {
        "lr": 1.0,
        "weight_decay": 0.0,
        "adjust_lr_fn": "original",
    }

    def __init__(
        self,
        kernels: list[nn.Parameter],
        lr: float,
        weight_decay: float,
        device: DeviceConfig | None = None,
    ) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay})
        self.kernels = kernels
        self.matrices = [nn.Parameter(torch.zeros_like(k).flatten(1)) for k in kernels]
        self.muon = Muon(self.matrices, **self.DIRECTION)
        self.moved: list[Tensor] = []  # matrices whose kernels have a gradient
        self.directions = device.replayed(self._directions) if device else self._directions

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all kernels, at the rate that a schedule has set."""
        loss = None if closure is None else closure()
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        moving = [
            (kernel, kernel.grad, matrix)
            for kernel, matrix in zip(self.kernels, self.matrices, strict=True)
            if kernel.grad is not None
        ]
        self.moved = [matrix for _, _, matrix in moving]
        if moving:
            self.directions(*(gradient for _, gradient, _ in moving))
        for kernel, _, matrix in moving:
            rows, columns = matrix.shape
            scale = 0.2 * math.sqrt(max(rows, columns)) / math.sqrt(max(1, rows / columns))
            kernel.mul_(1 - lr * decay).add_(matrix.view_as(kernel), alpha=lr * scale)
        return loss

    def _directions(self, *gradients: Tensor) -> Tensor:
        """Writes into the matrices where each kernel goes; gives one of them."""
        self.muon.zero_grad()
        for matrix, gradient in zip(self.moved, gradients, strict=True):
            matrix.grad = gradient.flatten(1)
        torch._foreach_zero_(self.moved)
        self.muon.step()  # type: ignore[no-untyped-call]
        return self.moved[0]

    def state_dict(self) -> dict[str, Any]:
        """The rates of this optimizer and the momenta of the one inside."""
        return {**super().state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes both over."""
        self.muon.load_state_dict(state_dict["muon"])
        self.muon.param_groups[0].update(self.DIRECTION)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "muon"})


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning rate of one optimizer over the run, advanced after every step."""
    if recipe.schedule == "one_cycle":
        return OneCycleLR(
            optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps,
            cycle_momentum="betas" in optimizer.defaults,
        )  # fmt: skip
    return LambdaLR(optimizer, lambda step: 1.0)


class Average(Generic[Model]):
    """A copy of a model whose weights follow those in training as an exponential average.

    Batch-norm statistics are averaged too. torch's `AveragedModel` does the same, but waits for a
    GPU in every step.

    Args:
        model: In training; it is where it stays.
        decay: Of the average. The first weights are forgotten sooner.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.module, self.decay = deepcopy(model), decay
        self.steps = 0  # that have been averaged

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the weights after a step."""
        averages, weights = _tensors(self.module), _tensors(model)
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 0
        torch._foreach_lerp_(averages[True], weights[True], 1 - decay)
        if averages[False]:  # batch norm counts its batches
            torch._foreach_copy_(averages[False], weights[False])
        self.steps += 1


def _tensors(model: nn.Module) -> dict[bool, list[Tensor]]:
    """Parameters and buffers of a model, by whether they can be averaged."""
    tensors = [*model.parameters(), *model.buffers()]
    return {is_float: [t for t in tensors if t.is_floating_point() == is_float]
            for is_float in (True, False)}  # fmt: skip
