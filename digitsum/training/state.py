"""A model in training, with its optimizers, its schedules and, where asked for, its average."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from typing import Any

from torch import Tensor

from digitsum.device import DeviceConfig, one_thread
from digitsum.models import difference
from digitsum.models.base import Architecture
from digitsum.recipe import Recipe
from digitsum.training.augmentation import warp
from digitsum.training.distributed import World
from digitsum.training.optimizers import Average, make_optimizers, make_schedule
from digitsum.training.restoring import fitted_optimizer, fitted_schedule

SMALL = 10**6  # weights below which another thread takes longer to wake than it saves a step


class TrainState:
    """Everything that a step changes.

    Args:
        model: A fresh or pretrained model.
        recipe: How to train it.
        steps: Number of steps in an epoch.
        device: Where to train, and in which precision.
        world: The processes that take each step together.
    """

    def __init__(
        self, model: Architecture, recipe: Recipe, steps: int, device: DeviceConfig, world: World
    ) -> None:
        self.recipe, self.steps, self.device = recipe, steps, device
        self.model = model
        device.place(model)
        self.parallel = world.parallel(model)
        self.optimizers = make_optimizers(recipe, model, device)
        self.schedules = [make_schedule(recipe, each, steps) for each in self.optimizers]
        self.average = Average(model, recipe.ema_decay) if recipe.ema_decay else None
        self.small = self.parameters < SMALL
        replayable = model.replayable and world.size == 1
        parameters = model.parameters()
        self.backward = (
            device.replayed(self._backward, parameters) if replayable else self._backward
        )

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    @property
    def eval_model(self) -> Architecture:
        """The model that is validated and stored: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def step(
        self,
        pixels: Tensor,
        sums: Tensor,
        progress: float,
        share: float = 1.0,
        counts: Tensor | None = None,
    ) -> Tensor:
        """One step; gives the loss before it, a scalar without gradient.

        Args:
            pixels: (B, 40, W) uint8.
            sums: (B,) float32.
            progress: 0..1 over the run.
            share: What the loss counts by; gradients are means over processes, whose shards may
                hold one strip more or less.
            counts: How many digits each strip holds, (B,) int64, where that differs. Such a step
                is not replayed: its table is as large as its highest count.
        """
        if counts is not None:
            loss = self._backward(pixels, sums, progress, share, counts)
        else:
            given = (pixels, sums, progress) if share == 1 else (pixels, sums, progress, share)
            loss = self.backward(*given)
        with one_thread() if self.small else nullcontext():
            for optimizer in self.optimizers:
                optimizer.step()
        for schedule in self.schedules:
            schedule.step()
        if self.average is not None:
            self.average.update(self.model)
        return loss

    def _backward(
        self,
        pixels: Tensor,
        sums: Tensor,
        progress: float | Tensor,
        share: float = 1,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Leaves the gradient of a step; gives its loss."""
        strips = self.device.normalize(pixels)
        if self.recipe.warp:
            strips = warp(strips, self.recipe.warp)
        with self.device.autocast():
            outputs = self.parallel(strips)
        loss = self.model.loss_of(outputs, sums, progress, counts)
        loss = loss if share == 1 else share * loss
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """Those of `eval_model`, on the CPU."""
        return _on_cpu(self.eval_model)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides `weights`, by the names of a checkpoint's fields."""
        return {
            "optimizer": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedule": [schedule.state_dict() for schedule in self.schedules],
            "unaveraged": {} if self.average is None else _on_cpu(self.model),
        }

    def load_state_dict(
        self,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        epochs: int,
        example: tuple[Tensor, Tensor],
    ) -> None:
        """Takes over what `weights` and `state_dict` gave after so many epochs.

        Args:
            weights: From a file, like all of `state`.
            state: By the names of a checkpoint's fields.
            epochs: How many the attempt has done.
            example: Two strips (2, 40, W) uint8 and their sums (2,) float32, of any kind: a step
                of a copy shows what the state must look like.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: It does not fit.
        """
        _load(self.eval_model, weights)
        steps = epochs * self.steps
        expected = self._state_after_a_step(*example)
        given = zip(self.optimizers, expected, state["optimizer"], strict=True)
        for optimizer, like, kept in given:
            optimizer.load_state_dict(fitted_optimizer(like, kept))
        for schedule, kept in zip(self.schedules, state["schedule"], strict=True):
            schedule.load_state_dict(fitted_schedule(schedule.state_dict(), kept, steps))
        if self.average is None:
            if state["unaveraged"]:
                raise ValueError("it holds an average, and the run makes none")
        else:
            _load(self.model, state["unaveraged"])
            self.average.steps = steps

    def _state_after_a_step(self, pixels: Tensor, sums: Tensor) -> list[dict[str, Any]]:
        """State dicts of the optimizers of a copy of this model that has taken a step."""
        model = deepcopy(self.model).train()
        optimizers = make_optimizers(self.recipe, model)
        for optimizer in optimizers:
            make_schedule(self.recipe, optimizer, self.steps)  # which adds to the settings
        with self.device.autocast():
            outputs = model(self.device.normalize(pixels))
        model.loss(outputs, sums, 0.0).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        return [optimizer.state_dict() for optimizer in optimizers]


def _load(model: Architecture, weights: dict[str, Tensor]) -> None:
    """Weights of a file, compared with the model's first."""
    if problem := difference(model.state_dict(), weights):
        raise ValueError(problem)
    model.load_state_dict(weights)


def _on_cpu(model: Architecture) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}
