"""What is computed inside does not depend on what its caller has set outside.

Autocast, `no_grad`, `inference_mode`, the default dtype and device of torch and what NumPy does
about overflows hold for all that a thread or a process computes, digitsum's models included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

DEVICE_TYPES = ("cpu", "cuda", "mps")

# functions that make tensors; without a dtype, those of the second kind look at what they are given
_FLOATS = frozenset({torch.empty, torch.eye, torch.linspace, torch.logspace, torch.ones,
                     torch.rand, torch.randn, torch.zeros})  # fmt: skip
_OTHERS = frozenset({torch.arange, torch.as_tensor, torch.full, torch.randint, torch.randperm,
                     torch.scalar_tensor, torch.tensor})  # fmt: skip


@contextmanager
def default_settings() -> Iterator[None]:
    """Settings as they are by default; the caller's are found again afterwards.

    Nothing here is seen by other threads. `torch.set_default_dtype` would be, hence `_Defaults`.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(torch.inference_mode(False))  # which turns gradients on too
        for kind in DEVICE_TYPES:
            if torch.is_autocast_enabled(kind):  # its cache would outlive the weights of a step
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        device = torch.get_default_device()
        if torch.get_default_dtype() != torch.float32 or device.type != "cpu":
            stack.enter_context(_Defaults())
        yield


class _Defaults(TorchFunctionMode):
    """Makes tensors float32 and on the CPU where their maker names no dtype and no device."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _FLOATS | _OTHERS:
            return func(*args, **(kwargs or {}))
        given = {key: value for key, value in (kwargs or {}).items() if value is not None}
        if func in _FLOATS:
            given.setdefault("dtype", torch.float32)
        tensors = [each for each in args if isinstance(each, torch.Tensor)]
        given.setdefault("device", tensors[0].device if tensors else "cpu")
        made = func(*args, **given)
        typed = "dtype" in given or any(hasattr(each, "dtype") for each in args)
        if typed or not made.is_floating_point():
            return made
        return func(*args, **given, dtype=torch.float32)
