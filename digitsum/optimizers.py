"""Optimizers and learning-rate schedules, by the names that a recipe gives them."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from digitsum.recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The optimizer that the recipe names, over all parameters of the model."""
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning rate over the run, advanced after every step."""
    if recipe.schedule == "one_cycle":
        return OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps)
    return LambdaLR(optimizer, lambda step: 1.0)
