"""Optimizers and averages of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from digitsum.recipe import Recipe
from digitsum.training.optimizers import (
    Average,
    KernelMuon,
    make_optimizers,
    make_schedule,
    orthogonal,
)


def recipe(**keys: object) -> Recipe:
    return Recipe.from_dict({"arch": "cnn", "epochs": 2, **keys})  # type: ignore[arg-type]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(16, 2))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_step_of_muon_is_equally_long_in_all_directions(
    memory_format: torch.memory_format,
) -> None:
    model = net().to(memory_format=memory_format)  # type: ignore[call-overload]
    optimizers = make_optimizers(recipe(optimizer="muon", lr=0.01, weight_decay=0.0), model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(torch.rand(4, 1, 5, 5)).square().sum().backward()
    gradient = model[1].weight.grad.flatten(1)
    for optimizer in optimizers:
        optimizer.step()
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    step = moved["1.weight"].flatten(1)
    size = 0.01 * 0.2 * 72**0.5  # 72 = 8 channels of 3 x 3, the longer side
    lengths = torch.linalg.svdvals(step)
    steep = torch.linalg.matrix_rank(gradient)  # directions that the gradient has
    assert 0.5 * size < lengths[steep - 1] <= lengths[0] < 1.3 * size
    assert (step * gradient).sum() > 0
    for name in ("0.weight", "0.bias", "1.bias", "3.weight", "3.bias"):  # Adam's first step
        assert moved[name].abs().max() == pytest.approx(0.01, rel=1e-3)


def test_muon_follows_the_schedule_and_decays_weights() -> None:
    model = net()
    keys = recipe(optimizer="muon", lr=0.5, weight_decay=0.1, schedule="one_cycle")
    adam, muon = make_optimizers(keys, model)
    schedules = [make_schedule(keys, optimizer, steps=10) for optimizer in (adam, muon)]
    assert isinstance(muon, KernelMuon)
    rate = muon.param_groups[0]["lr"]
    assert rate == adam.param_groups[0]["lr"] == pytest.approx(0.5 / 25)
    before = model[1].weight.detach().clone()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    adam.step()
    muon.step()
    torch.testing.assert_close(model[1].weight.detach(), before * (1 - 0.1 * rate))
    for schedule in schedules:
        schedule.step()
    assert muon.param_groups[0]["lr"] == adam.param_groups[0]["lr"] > rate
    muon.zero_grad()
    assert model[1].weight.grad is None


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_the_optimizers_show_every_weight_once(name: str) -> None:
    model = net()
    optimizers = make_optimizers(recipe(optimizer=name), model)
    held = [p for each in optimizers for group in each.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))


def test_muon_without_kernels_is_adamw() -> None:
    (only,) = make_optimizers(recipe(optimizer="muon"), nn.Linear(3, 2))
    assert isinstance(only, torch.optim.AdamW)


def test_an_average_follows_the_weights_and_forgets_the_first_ones() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = Average(model, 0.3)
    expected = None
    for step in range(6):
        with torch.no_grad():
            model[0].weight.fill_(step)
        model[1].num_batches_tracked.fill_(step)
        average.update(model)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = step if expected is None else decay * expected + (1 - decay) * step
        assert average.module[0].weight.item() == pytest.approx(expected)
        assert average.module[1].num_batches_tracked.item() == step


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_the_rate_rises_for_the_share_that_is_asked(share: float) -> None:
    keys = recipe(schedule="one_cycle", pct_start=share, lr=0.5)
    (optimizer,) = make_optimizers(keys, net())
    schedule = make_schedule(keys, optimizer, steps=100)
    rates = []
    for _ in range(200):  # two epochs
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates.index(max(rates)) == pytest.approx(200 * share, abs=1)
    assert max(rates) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(8, 8), (16, 72), (72, 16)])
def test_the_direction_is_that_of_torchs_muon(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(shape, generator=generator) * torch.logspace(0, -3, shape[1])
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = gradient
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, adjust_lr_fn="original").step()
    scale = max(1, shape[0] / shape[1]) ** 0.5  # which "original" multiplies by
    ours = orthogonal(torch.stack([torch.zeros(shape), gradient]))
    assert not ours[0].any()
    off = (ours[1] + weight.detach() / scale).norm() / ours[1].norm()
    assert off < 0.05  # torch's is in bf16
