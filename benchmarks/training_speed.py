"""Training speed: `digitsum train` beside the usual loop, and beside its convolutions alone.

Usage: python benchmarks/training_speed.py [--arch cnn --arch reader] [--rounds 5]

The usual loop is how the technical report's training would be written: a Dataset of float32 strips,
a DataLoader, NCHW, float32, and the loss read after every step. Both sides train the same net with
the same optimizer and batch size. Strips per second are those of steady steps. Every side of every
round is a process of its own; ours keeps freed memory, as the program does.

The third side runs the convolutions alone: every convolution of the net, forward and backward on
the same shapes, in the same precision and memory format, in a tight loop. The share of their rate
that a whole training step reaches shows what everything else costs.
"""

from __future__ import annotations

import time
from functools import partial
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from measuring import in_turn, median_ratio, printed_by, show, write
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from digitsum.cli.malloc import keep_freed
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.device import DeviceConfig
from digitsum.models import architecture, create
from digitsum.models.base import Architecture
from digitsum.recipe import Recipe
from digitsum.training import train
from digitsum.training.optimizers import make_optimizers

WARM_UP = 3  # steps
SIDES = ("ours", "usual", "convolutions")


def measure(
    arch: Annotated[
        list[str] | None, typer.Option(help="Architectures.", show_default="cnn and reader")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of each side.")] = 5,
    steps: Annotated[int, typer.Option(help="Training steps in a measurement.")] = 40,
    device: str = "auto",
    precision: str = "auto",
    side: Annotated[
        str | None, typer.Option(help="Only this side, once, of one --arch: prints its strips/s.")
    ] = None,
) -> None:
    """Measures training speed."""
    recipes = [
        Recipe(name, epochs=1, device=device, precision=precision)
        for name in arch or ["cnn", "reader"]
    ]
    if side is not None:
        print(speed(recipes[0], side, steps))
        return
    rows = [compared(recipe, rounds, steps) for recipe in recipes]
    show("training, strips/s", rows)
    resolved = DeviceConfig.resolve(device, precision)
    write(f"training_speed_{resolved.precision}", {"rounds": rounds, "rows": rows})


def compared(recipe: Recipe, rounds: int, steps: int) -> dict[str, object]:
    """Measures all sides of one architecture in turn."""
    device = DeviceConfig.resolve(recipe.device, recipe.precision)
    words = ["--arch", recipe.arch, "--steps", str(steps)]
    words += ["--device", recipe.device, "--precision", recipe.precision]
    speeds = in_turn({s: printed_by(__file__, *words, "--side", s) for s in SIDES}, rounds)
    middle = {name: sorted(values)[rounds // 2] for name, values in speeds.items()}
    strips = made(recipe, steps)
    macs = sum(multiplications(*shape) for shape in convolutions(recipe, device, strips))
    return {
        "arch": recipe.arch,
        "on": str(device),
        **middle,
        "ours / usual": median_ratio(speeds["ours"], speeds["usual"]),
        "ours / convolutions": median_ratio(speeds["ours"], speeds["convolutions"]),
        "GMAC/s in training": 3 * macs * middle["ours"] / 1e9,
    }


def speed(recipe: Recipe, side: str, steps: int) -> float:
    """Strips per second of a side, measured in this process."""
    device, strips = DeviceConfig.resolve(recipe.device, recipe.precision), made(recipe, steps)
    if side == "usual":
        return usual(recipe, device.device, strips)
    keep_freed()
    if side == "ours":
        return ours(recipe, strips)
    return alone(convolutions(recipe, device, strips), device, recipe.batch_size, steps // 4)


def made(recipe: Recipe, steps: int) -> StripSet:
    """As many strips as have `steps` batches in their training split."""
    count = recipe.batch_size * steps
    return compose("builtin", count + max(5, count // 4), seed=0).as_strips("made")


def ours(recipe: Recipe, strips: StripSet) -> float:
    """Strips per second of `digitsum train`, as its history has it."""
    with TemporaryDirectory() as folder:
        result = train(strips, recipe, out=f"{folder}/run.pt", limit=len(strips) * 4 // 5)
    return result.history[0].strips_per_second


def usual(recipe: Recipe, device: torch.device, data: StripSet) -> float:
    """Strips per second of the loop that most people would write."""
    count = len(data) * 4 // 5
    strips = torch.from_numpy(data.images()[:count]).float().unsqueeze(1) / 255
    loader = DataLoader(
        TensorDataset(strips, torch.from_numpy(data.sums[:count]).float()),
        batch_size=recipe.batch_size,
        shuffle=True,
        pin_memory=device.type == "cuda",
    )
    model = fresh(recipe, data.width).to(device).train()
    optimizers = make_optimizers(recipe, model)
    seen = 0
    for step, (batch, labels) in enumerate(loader):
        if step == WARM_UP:
            begun = time.perf_counter()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = model.loss(model(batch.to(device)), labels.to(device), 1.0)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        loss.item()
        seen += len(batch) if step >= WARM_UP else 0
    return seen / (time.perf_counter() - begun)


def fresh(recipe: Recipe, width: int) -> Architecture:
    """A model as the recipe has it, with random weights."""
    return create(architecture(recipe.arch), width, recipe.options)


Shape = tuple[nn.Conv2d, torch.Size]


def convolutions(recipe: Recipe, device: DeviceConfig, strips: StripSet) -> list[Shape]:
    """Every convolution of a net with the shape of its input, in the order of the forward pass."""
    model = device.place(fresh(recipe, strips.width)).train()
    found: list[Shape] = []
    hooks = [
        module.register_forward_hook(lambda m, inputs, _: found.append((m, inputs[0].shape)))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    batch = torch.from_numpy(strips.images()[: recipe.batch_size])
    with torch.no_grad(), device.autocast():
        model(device.normalize(batch))
    for hook in hooks:
        hook.remove()
    return found


def multiplications(module: nn.Conv2d, shape: torch.Size) -> int:
    """Multiply-accumulate operations of a convolution in one strip's forward pass."""
    height, width = shape[2] // module.stride[0], shape[3] // module.stride[1]
    if not module.padding[0]:  # the height is folded away
        height = shape[2] - module.kernel_size[0] + 1
    return module.weight.numel() * height * width


def alone(shapes: list[Shape], device: DeviceConfig, batch_size: int, repeats: int) -> float:
    """Strips per second of the convolutions alone, forward and backward.

    On a GPU they are replayed from a graph, as a small one takes less time than its launch.
    """
    dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
    seconds = 0.0
    for number, (module, shape) in enumerate(shapes):
        weight = module.weight.detach().to(dtype).requires_grad_()
        x = torch.randn(shape, device=device.device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_(number > 0)
        kept = (x, weight) if number else (weight,)
        with torch.no_grad():
            gradient = torch.ones_like(convolved(module, x, weight))

        run = device.replayed(partial(both_ways, module, x, weight, kept, gradient))
        for repeat in range(WARM_UP + 1 + repeats):
            if repeat == WARM_UP + 1:
                synchronize(device.device)
                begun = time.perf_counter()
            run()
        synchronize(device.device)
        seconds += time.perf_counter() - begun
    return batch_size * repeats / seconds


def both_ways(
    module: nn.Conv2d, x: Tensor, weight: Tensor, wanted: tuple[Tensor, ...], gradient: Tensor
) -> Tensor:
    """One of the gradients of a convolution, forward and backward."""
    return torch.autograd.grad(convolved(module, x, weight), wanted, gradient)[0]


def convolved(module: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of a module without its bias."""
    result: Tensor = nn.functional.conv2d(x, weight, None, module.stride, module.padding)
    return result


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    typer.run(measure)
