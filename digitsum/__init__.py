"""digitsum: reads the sum of handwritten digits, and learns to from the sums alone.

The public names load on first use; importing digitsum itself loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from digitsum.comparison import compare as compare
    from digitsum.datasets import open_data as open_data
    from digitsum.evaluation import evaluate as evaluate
    from digitsum.inference import load_model as load
    from digitsum.recipe import Recipe as Recipe
    from digitsum.training import train as train

__version__ = "0.1.0"

__all__ = ["Recipe", "compare", "evaluate", "load", "open_data", "train"]

_HOMES = {
    "Recipe": ("digitsum.recipe", "Recipe"),
    "compare": ("digitsum.comparison", "compare"),
    "evaluate": ("digitsum.evaluation", "evaluate"),
    "load": ("digitsum.inference", "load_model"),
    "open_data": ("digitsum.datasets", "open_data"),
    "train": ("digitsum.training", "train"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'digitsum' has no attribute '{name}'")
    module, original = _HOMES[name]
    return getattr(import_module(module), original)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
