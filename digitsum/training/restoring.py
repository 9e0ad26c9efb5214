"""The state of optimizers and schedules that a file holds, brought into the form that it must have.

torch's fused optimizers trust their state: they read and write past the end of one that is smaller
than its weights. So each tensor of a file is compared with one that training itself has made, and
copied into one like it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from digitsum.torch_files import is_dense

# what a schedule changes from step to step; all else follows from the recipe
MOVING = ("lr", "betas", "momentum")


def fitted_optimizer(expected: Mapping[str, Any], found: object) -> dict[str, Any]:
    """The state dict of an optimizer, as `expected` has it, with the numbers of `found`.

    Args:
        expected: State dict of such an optimizer after a step.
        found: From a file.

    Raises:
        ValueError: They differ in more than what steps and schedules change.
    """
    state = _same_keys(expected, found, "optimizer")
    fitted: dict[str, Any] = {}
    for key, value in expected.items():
        if key == "state":
            fitted[key] = fitted_value(value, state[key], "state")
        else:  # param_groups
            groups = _same_length(value, state[key], key)
            fitted[key] = [_agreed(*pair, MOVING) for pair in zip(value, groups, strict=True)]
    return fitted


def fitted_schedule(expected: Mapping[str, Any], found: object, steps: int) -> dict[str, Any]:
    """The state dict of a schedule after so many steps, with the rates of `found`.

    Args:
        expected: State dict of such a schedule before its first step.
        found: From a file.
        steps: Number of steps that the run has taken.

    Raises:
        ValueError: They differ in more than that.
    """
    fitted = _agreed(expected, found, ("last_epoch", "_step_count", "_last_lr"))
    if fitted["last_epoch"] != steps:
        raise ValueError(
            f"its schedule is at step {fitted['last_epoch']}, its epochs end at {steps}"
        )
    return fitted


def fitted_value(expected: Any, found: Any, where: str) -> Any:
    """A tensor, a number, or dicts and lists of them, with the form of `expected`.

    Raises:
        ValueError: A tensor has another shape or type, or something is missing or not finite.
    """
    if isinstance(expected, Tensor):
        return _fitted_tensor(expected, found, where)
    if isinstance(expected, dict):
        found = _same_keys(expected, found, where)
        return {key: fitted_value(expected[key], found[key], f"{where}.{key}") for key in expected}
    if isinstance(expected, list | tuple):
        values = zip(expected, _same_length(expected, found, where), strict=True)
        return type(expected)(fitted_value(*pair, where) for pair in values)
    if type(found) is not type(expected) or not abs(found) <= sys.float_info.max:
        raise ValueError(f"{where} is {found!r:.40}, expected a number such as {expected!r}")
    return found


def _fitted_tensor(expected: Tensor, found: Any, where: str) -> Tensor:
    if not is_dense(found) or (found.shape, found.dtype) != (expected.shape, expected.dtype):
        want = f"{expected.dtype} of shape {tuple(expected.shape)}"
        have = f"{found.dtype} of shape {tuple(found.shape)}" if is_dense(found) else type(found)
        raise ValueError(f"{where} is {have}, expected {want}")
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{where} holds numbers that are not finite")
    return torch.empty_like(expected).copy_(found)


def _agreed(expected: Mapping[str, Any], found: object, moving: Collection[str]) -> dict[str, Any]:
    """Settings, those that move from `found`; other versions of torch may have more or fewer."""
    if not isinstance(found, dict):
        raise ValueError("its settings are missing")
    fitted = dict(expected)
    for key in expected.keys() & found.keys():
        if key in moving:
            fitted[key] = fitted_value(expected[key], found[key], key)
        elif found[key] != expected[key]:
            raise ValueError(f"{key} is {found[key]!r:.40}, and {expected[key]!r:.40} in the run")
    return fitted


def _same_keys(expected: Mapping[Any, Any], found: Any, where: str) -> dict[Any, Any]:
    if not isinstance(found, dict) or found.keys() != expected.keys():
        raise ValueError(f"{where} does not hold what it should")
    return found


def _same_length(expected: list[Any] | tuple[Any, ...], found: Any, where: str) -> Any:
    if type(found) is not type(expected) or len(found) != len(expected):
        raise ValueError(f"{where} does not hold {len(expected)} entries")
    return found
