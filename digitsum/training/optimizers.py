"""Optimizers, learning-rate schedules and averages of weights, as a recipe asks for them."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
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

    torch's own takes matrices alone, and multiplies them in bf16, which a processor that has no
    bf16 only emulates: it took 472 of 730 ms of a step of a small net.

    Args:
        kernels: (C_out, C_in, h, w) each.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        device: Replays what does not depend on the learning rate, where it can.
    """

    MOMENTUM: ClassVar[float] = 0.95  # Nesterov's

    def __init__(
        self,
        kernels: list[nn.Parameter],
        lr: float,
        weight_decay: float,
        device: DeviceConfig | None = None,
    ) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay})
        self.kernels = kernels
        self.directions = device.replayed(self._directions) if device else self._directions

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all kernels, at the rate that a schedule has set."""
        loss = None if closure is None else closure()
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        moving = [(kernel, kernel.grad) for kernel in self.kernels if kernel.grad is not None]
        self.moved = [kernel for kernel, _ in moving]
        for kernel in self.moved:
            if "momentum" not in self.state[kernel]:
                momentum = torch.zeros_like(kernel, memory_format=torch.contiguous_format)
                self.state[kernel]["momentum"] = momentum.flatten(1)
        if self.moved:
            moves = self.directions(*(gradient for _, gradient in moving))
            sizes = [kernel.numel() for kernel in self.moved]
            for kernel, move in zip(self.moved, torch.split(moves, sizes), strict=True):
                size = 0.2 * math.sqrt(max(len(kernel), kernel.numel() // len(kernel)))
                kernel.mul_(1 - lr * decay).sub_(move.view(kernel.shape), alpha=lr * size)
        return loss

    def _directions(self, *gradients: Tensor) -> Tensor:
        """Where the kernels go, each (C_out, rest), all of them laid flat one after the other."""
        matrices = [gradient.flatten(1) for gradient in gradients]
        momenta = [self.state[kernel]["momentum"] for kernel in self.moved]
        torch._foreach_lerp_(momenta, matrices, 1 - self.MOMENTUM)
        ahead = torch._foreach_lerp(matrices, momenta, self.MOMENTUM)
        moves: dict[int, Tensor] = {}
        for shape in {matrix.shape for matrix in ahead}:  # kernels of one shape together
            alike = [number for number, matrix in enumerate(ahead) if matrix.shape == shape]
            found = orthogonal(torch.stack([ahead[number] for number in alike]))
            moves |= dict(zip(alike, found, strict=True))
        return torch.cat([moves[number].flatten() for number in range(len(ahead))])


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (n, r, c) with the directions of these and singular values of about 1.

    Five steps of Muon's quintic iteration x -> a x + b (x x') x + c (x x')^2 x, where x' is the
    transpose. All of them are polynomials in x x' times x, and x x' has a side of the shorter of r
    and c only. So the polynomials are multiplied first, and x comes in once, at the end.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    gram = x @ x.mT
    once = 3.4445 * torch.eye(gram.shape[1], device=gram.device)

    def polynomial(gram: Tensor) -> Tensor:
        return torch.baddbmm(once - 4.775 * gram, gram, gram, alpha=2.0315)

    product = factor = polynomial(gram)
    for _ in range(4):
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        product = factor @ product
    result: Tensor = product @ x
    return result


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning rate of one optimizer over the run, advanced after every step."""
    if recipe.schedule == "one_cycle":
        return OneCycleLR(
            optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps,
            pct_start=recipe.pct_start, cycle_momentum="betas" in optimizer.defaults,
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
