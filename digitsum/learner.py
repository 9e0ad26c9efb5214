"""A model in training: with its optimizer, its schedule and, where asked for, its average."""

from __future__ import annotations

from torch import Tensor, nn

from digitsum.augmentation import warp
from digitsum.checkpoint import Checkpoint
from digitsum.compute import Compute
from digitsum.distributed import World
from digitsum.models import create
from digitsum.optimizers import make_average, make_optimizer, make_schedule
from digitsum.recipe import Recipe


class Learner:
    """A fresh model, ready for its first step.

    Args:
        recipe: What to build and how to train it.
        width: Columns of the strips.
        steps: In an epoch.
        compute: Where and in which precision.
        world: The processes that take each step together.
        pretrained: See `models.create`.
    """

    def __init__(
        self,
        recipe: Recipe,
        width: int,
        steps: int,
        compute: Compute,
        world: World,
        pretrained: bool = True,
    ) -> None:
        self.recipe, self.steps, self.compute = recipe, steps, compute
        self.model = compute.place(create(recipe.arch, width, recipe.options, pretrained))
        self.parallel = world.parallel(self.model)
        self.optimizer = make_optimizer(recipe, self.model)
        self.schedule = make_schedule(recipe, self.optimizer, steps)
        self.average = make_average(recipe, self.model)

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def judged(self) -> nn.Module:
        """The model that is scored and stored: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def step(self, pixels: Tensor, sums: Tensor, progress: float, share: float = 1.0) -> Tensor:
        """One step; gives the loss before it, a scalar without gradient.

        Args:
            pixels: (B, 40, W) uint8.
            sums: (B,) float32.
            progress: 0..1 over the run.
            share: What the loss counts by; gradients are means over processes, whose strips may
                be one more or one less.
        """
        strips = self.compute.strips(pixels)
        if self.recipe.warp:
            strips = warp(strips, self.recipe.warp)
        with self.compute.autocast():
            outputs = self.parallel(strips)
        loss: Tensor = share * self.model.loss(outputs, sums, progress)  # type: ignore[operator]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """Of the model that is judged, on the CPU."""
        return _on_cpu(self.judged)

    def store(self, checkpoint: Checkpoint) -> None:
        """Puts into a checkpoint what it takes to go on from here."""
        checkpoint.optimizer = self.optimizer.state_dict()
        checkpoint.schedule = self.schedule.state_dict()
        if self.average is not None:
            checkpoint.unaveraged = _on_cpu(self.model)

    def restore(self, checkpoint: Checkpoint, epochs: int) -> None:
        """Takes over what `store` had put there after so many epochs.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: It does not fit.
        """
        self.judged.load_state_dict(checkpoint.weights)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.schedule.load_state_dict(checkpoint.schedule)
        if self.average is not None:
            self.model.load_state_dict(checkpoint.unaveraged)
            self.average.n_averaged.fill_(epochs * self.steps)


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}
