"""Optimizers, learning-rate schedules and averages of weights, as a recipe asks for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from digitsum.recipe import Recipe

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The optimizer that the recipe names, over all parameters of the model."""
    keys: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "muon":
        return MuonOfKernels(model, **keys)
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(model.parameters(), **keys, fused=True)


class MuonOfKernels(AdamW):
    """AdamW, but for the kernels of convolutions, whose steps are Muon's.

    Muon (Jordan et al., 2024) takes a kernel as a matrix of one row per output channel and makes
    all directions of its step equally long. Steps are scaled to the size of AdamW's (Liu et al.,
    2025), so that one learning rate serves both. Kernels of one input channel stay with AdamW.

    Args:
        model: Of which all parameters are trained.
        lr: Learning rate of both.
        weight_decay: Of both, decoupled.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        parameters = list(model.parameters())
        self.kernels = [p for p in parameters if p.ndim == 4 and p.shape[1] > 1]
        chosen = {id(kernel) for kernel in self.kernels}
        others = [p for p in parameters if id(p) not in chosen]
        super().__init__(others, lr=lr, weight_decay=weight_decay, fused=True)
        # torch's takes matrices alone, and a kernel in channels-last cannot be seen as one
        matrices = [kernel.detach().flatten(1).clone() for kernel in self.kernels]
        self.matrices = [nn.Parameter(matrix) for matrix in matrices]
        self.muon = Muon(
            self.matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all parameters, at the rate that a schedule has set."""
        loss = super().step(closure)
        self.muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.copy_(kernel.flatten(1))
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        self.muon.step()  # type: ignore[no-untyped-call]
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            kernel.copy_(matrix.view_as(kernel))
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of all parameters."""
        super().zero_grad(set_to_none)
        for kernel in self.kernels:
            kernel.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Both states."""
        return {**super().state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes both over."""
        self.muon.load_state_dict(state_dict["muon"])
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "muon"})


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning rate over the run, advanced after every step."""
    if recipe.schedule == "one_cycle":
        return OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps)
    return LambdaLR(optimizer, lambda step: 1.0)


def make_average(recipe: Recipe, model: nn.Module) -> AveragedModel | None:
    """A copy of the model whose weights follow those in training as an exponential average.

    Batch-norm statistics are averaged too. None if the recipe asks for none.
    """
    if not recipe.ema_decay:
        return None

    @torch.no_grad()
    def follow(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # batch norm counts its batches
            torch._foreach_copy_(averages, weights)
            return
        done = float(steps)
        decay = min(recipe.ema_decay, (1 + done) / (10 + done))  # the first weights soon forgotten
        torch._foreach_lerp_(averages, weights, 1 - decay)

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
