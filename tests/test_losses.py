from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digitsum.errors import RecipeError
from digitsum.losses import focal_l1, regression_loss

errors = st.lists(st.floats(-40, 40), min_size=1, max_size=20)


@settings(deadline=None, derandomize=True)
@given(errors, st.floats(0.01, 2), st.floats(0, 3))
def test_focal_l1_is_its_formula(errors: list[float], beta: float, gamma: float) -> None:
    size = np.abs(errors)
    expected = np.mean(size * (2 / (1 + np.exp(-beta * size)) - 1) ** gamma)
    sums = torch.full((len(errors),), 18.0, dtype=torch.float64)
    loss = focal_l1(sums + torch.tensor(errors, dtype=torch.float64), sums, beta, gamma)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    plain = focal_l1(torch.tensor(errors).double(), torch.zeros(len(errors)), beta, gamma=0)
    assert plain.item() == pytest.approx(size.mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_no_error_costs_nothing_and_has_a_finite_gradient(gamma: float) -> None:
    values = torch.tensor([3.0, 18.0], requires_grad=True)
    loss = focal_l1(values, values.detach(), gamma=gamma)
    loss.backward()
    assert loss.item() == 0
    assert values.grad is not None
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_gradient_is_that_of_finite_differences(gamma: float) -> None:
    values = torch.tensor([-30.0, -2.5, -0.1, 0.2, 9.0], dtype=torch.float64, requires_grad=True)
    sums = torch.zeros(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: focal_l1(v, sums, 0.2, gamma), values)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", 2.5**2 / 2),
        ("l1", 2.5 / 2),
        ("smooth_l1", (2.5 - 0.5) / 2),
        ("focal_l1", 2.5 * math.tanh(0.4 * 2.5 / 2) ** 2 / 2),  # 2 sigmoid(x) - 1 = tanh(x / 2)
    ],
)
def test_a_loss_goes_by_its_name(name: str, expected: float) -> None:
    loss = regression_loss(name, beta=0.4, gamma=2.0)
    got = loss(torch.tensor([4.0, 7.5]), torch.tensor([4.0, 5.0]))
    assert got.item() == pytest.approx(expected)


def test_an_unknown_loss_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'huber'.*focal_l1, mse, l1, smooth_l1"):
        regression_loss("huber", 0.2, 1.0)
