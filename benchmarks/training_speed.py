"""Training speed: `digitsum train` beside the usual recipe, and beside its convolutions alone.

Usage: python benchmarks/training_speed.py [--arch cnn --arch reader] [--rounds 5]

The usual recipe is how the technical report's training would be written: a Dataset of float32
strips, a DataLoader, NCHW, float32, the loss read after every step. Both sides train the same net
with the same optimizer and batch size; strips per second are those of steady steps. Every side of
every round is a process of its own; ours keeps freed memory, as the program does.

The convolutions alone: every convolution of the net, forward and backward on the same shapes, in
the same precision and memory format, in a tight loop. What share of their rate a whole training
step reaches is what everything else costs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from measuring import in_turn, median_ratio, printed_by, show, write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from digitsum.cli.memory import keep_freed
from digitsum.compute import Compute
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose
from digitsum.models import create
from digitsum.optimizers import make_optimizer
from digitsum.progress import EpochRecord
from digitsum.recipe import Recipe
from digitsum.training import train

WARM_UP = 3  # steps
SIDES = ("ours", "usual", "convolutions")


def measure(
    arch: Annotated[list[str] | None, typer.Option(help="Default: cnn and reader.")] = None,
    rounds: int = 5,
    steps: int = 40,
    device: str = "auto",
    precision: str = "auto",
    side: Annotated[
        str | None, typer.Option(help="Only this side, once, of one --arch: prints its strips/s.")
    ] = None,
) -> None:
    keys = {"epochs": 1, "device": device, "precision": precision}
    recipes = [Recipe.from_dict({"arch": name, **keys}) for name in arch or ["cnn", "reader"]]
    if side is not None:
        print(speed(recipes[0], side, steps))
        return
    rows = [compared(recipe, rounds, steps) for recipe in recipes]
    show("training, strips/s", rows)
    write(
        f"training_speed_{Compute.resolve(device, precision).precision}",
        {"rounds": rounds, "rows": rows},
    )


def compared(recipe: Recipe, rounds: int, steps: int) -> dict[str, object]:
    """One architecture, all sides in turn."""
    compute = Compute.resolve(recipe.device, recipe.precision)
    words = ["--arch", recipe.arch, "--steps", str(steps)]
    words += ["--device", recipe.device, "--precision", recipe.precision]
    speeds = in_turn({s: printed_by(__file__, *words, "--side", s) for s in SIDES}, rounds)
    middle = {name: sorted(values)[rounds // 2] for name, values in speeds.items()}
    strips = made(recipe, steps)
    macs = sum(multiplications(*shape) for shape in convolutions(recipe, compute, strips))
    return {
        "arch": recipe.arch,
        "on": str(compute),
        **middle,
        "ours / usual": median_ratio(speeds["ours"], speeds["usual"]),
        "ours / convolutions": median_ratio(speeds["ours"], speeds["convolutions"]),
        "GMAC/s in training": 3 * macs * middle["ours"] / 1e9,
    }


def speed(recipe: Recipe, side: str, steps: int) -> float:
    """Strips per second of a side, here."""
    compute, strips = Compute.resolve(recipe.device, recipe.precision), made(recipe, steps)
    if side == "usual":
        return usual(recipe, compute.device, strips)
    keep_freed()
    if side == "ours":
        return ours(recipe, strips)
    return alone(convolutions(recipe, compute, strips), compute, recipe.batch_size, steps // 4)


def made(recipe: Recipe, steps: int) -> StripSet:
    """Strips of which so many steps are the training part."""
    count = recipe.batch_size * steps
    found = compose(load_digits("builtin"), count + max(5, count // 4), seed=0)
    return StripSet(["made"], [found.images], found.sums)


def ours(recipe: Recipe, strips: StripSet) -> float:
    """Strips per second of `digitsum train`, as its history has it."""
    recipe = replace(recipe, limit=len(strips) * 4 // 5)
    records: list[EpochRecord] = []
    with TemporaryDirectory() as folder:
        train(
            recipe,
            strips,
            f"{folder}/run.pt",
            lambda event: records.append(event) if isinstance(event, EpochRecord) else None,
        )
    return records[0].strips_per_second


def usual(recipe: Recipe, device: torch.device, data: StripSet) -> float:
    """Strips per second of the loop that everyone would write."""
    count = len(data) * 4 // 5
    strips = torch.from_numpy(data.images()[:count]).float().unsqueeze(1) / 255
    loader = DataLoader(
        TensorDataset(strips, torch.from_numpy(data.sums[:count]).float()),
        batch_size=recipe.batch_size,
        shuffle=True,
        pin_memory=device.type == "cuda",
    )
    model = create(recipe.arch, data.width, recipe.options).to(device)
    optimizer = make_optimizer(recipe, model)
    model.train()
    seen = 0
    for step, (batch, labels) in enumerate(loader):
        if step == WARM_UP:
            begun = time.perf_counter()
        optimizer.zero_grad()
        loss = model.loss(model(batch.to(device)), labels.to(device), 1.0)
        loss.backward()
        optimizer.step()
        loss.item()
        seen += len(batch) if step >= WARM_UP else 0
    return seen / (time.perf_counter() - begun)


Shape = tuple[nn.Conv2d, torch.Size]


def convolutions(recipe: Recipe, compute: Compute, strips: StripSet) -> list[Shape]:
    """Every convolution of a net with the shape of what goes into it, in training order."""
    model = compute.place(create(recipe.arch, strips.width, recipe.options)).train()
    found: list[Shape] = []
    hooks = [
        module.register_forward_hook(lambda m, inputs, _: found.append((m, inputs[0].shape)))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    batch = torch.from_numpy(strips.images()[: recipe.batch_size])
    with torch.no_grad(), compute.autocast():
        model(compute.strips(batch))
    for hook in hooks:
        hook.remove()
    return found


def multiplications(module: nn.Conv2d, shape: torch.Size) -> int:
    """Of one strip, forward."""
    height, width = shape[2] // module.stride[0], shape[3] // module.stride[1]
    if not module.padding[0]:  # the height is folded away
        height = shape[2] - module.kernel_size[0] + 1
    return module.weight.numel() * height * width


def alone(shapes: list[Shape], compute: Compute, batch_size: int, repeats: int) -> float:
    """Strips per second if there were nothing but convolutions, forward and backward."""
    dtype = torch.bfloat16 if compute.precision == "bf16" else torch.float32
    seconds = 0.0
    for number, (module, shape) in enumerate(shapes):
        weight = module.weight.detach().to(dtype).requires_grad_()
        x = torch.randn(shape, device=compute.device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_(number > 0)
        gradient = None
        for repeat in range(WARM_UP + repeats):
            if repeat == WARM_UP:
                synchronize(compute.device)
                begun = time.perf_counter()
            y = nn.functional.conv2d(x, weight, None, module.stride, module.padding)
            gradient = torch.ones_like(y) if gradient is None else gradient
            y.backward(gradient)
            x.grad = weight.grad = None
        synchronize(compute.device)
        seconds += time.perf_counter() - begun
    return batch_size * repeats / seconds


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    typer.run(measure)
