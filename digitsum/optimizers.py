"""Optimizers, learning-rate schedules and averages of weights, as a recipe asks for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from digitsum.recipe import Recipe

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The optimizer that the recipe names, over all parameters of the model."""
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


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
