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


def make_optimizers(recipe: Recipe, model: nn.Module) -> list[Optimizer]:
    """The optimizers that the recipe asks for; together they hold all parameters of the model.

    `muon` is AdamW for most parameters and Muon for the kernels of convolutions. Kernels of one
    input channel stay with AdamW.
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
    return [*optimizers, KernelMuon(kernels, **keys)] if kernels else optimizers


class KernelMuon(Optimizer):
    """Muon for kernels of convolutions.

    Muon (Jordan et al., 2024) takes a kernel as a matrix of one row for each output channel and
    makes all directions of its step equally long. Steps are scaled to the size of AdamW's (Liu et
    al., 2025), so that one learning rate serves both.

    Args:
        kernels: (C_out, C_in, h, w) each.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
    """

    def __init__(self, kernels: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay})
        # torch's takes matrices alone, and a kernel in channels-last cannot be seen as one
        matrices = [kernel.detach().flatten(1).clone() for kernel in kernels]
        self.kernels, self.matrices = kernels, [nn.Parameter(matrix) for matrix in matrices]
        self.muon = Muon(
            self.matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all kernels, at the rate that a schedule has set."""
        loss = None if closure is None else closure()
        self.muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.copy_(kernel.flatten(1))
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        self.muon.step()  # type: ignore[no-untyped-call]
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            kernel.copy_(matrix.view_as(kernel))
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The rates of this optimizer and the momenta of the one inside."""
        return {**super().state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes both over."""
        self.muon.load_state_dict(state_dict["muon"])
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "muon"})


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning rate of one optimizer over the run, advanced after every step."""
    if recipe.schedule == "one_cycle":
        return OneCycleLR(
            optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps,
            cycle_momentum="betas" in optimizer.defaults,
        )  # fmt: skip
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
