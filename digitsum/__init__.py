"""digitsum: the sum of handwritten digits, learnt from sums alone.

The public names load on first use; importing digitsum itself loads nothing heavy.
"""

from __future__ import annotations

from digitsum._version import __version__

TYPE_CHECKING = False  # to type checkers True; typing takes half the time until signals are seen to
if TYPE_CHECKING:
    from digitsum.datasets import open_data as open_data
    from digitsum.datasets.strips import StripSet as StripSet
    from digitsum.datasets.synthesis import compose as compose
    from digitsum.evaluation.comparison import compare as compare
    from digitsum.evaluation.scoring import evaluate as evaluate
    from digitsum.file_predictor import predict_files as predict_files
    from digitsum.inference import LoadedModel as LoadedModel
    from digitsum.inference import load_model as load
    from digitsum.models.base import Architecture as Architecture
    from digitsum.predictions import Prediction as Prediction
    from digitsum.predictions import Predictions as Predictions
    from digitsum.recipe import Recipe as Recipe
    from digitsum.training import resume as resume
    from digitsum.training import train as train
    from digitsum.training.adapting import Adaptation as Adaptation
    from digitsum.training.adapting import adapt as adapt
    from digitsum.training.events import EpochRecord as EpochRecord
    from digitsum.training.events import Result as Result

# public name: where it is defined
_PUBLIC = {
    "Adaptation": "digitsum.training.adapting:Adaptation",
    "Architecture": "digitsum.models.base:Architecture",
    "EpochRecord": "digitsum.training.events:EpochRecord",
    "LoadedModel": "digitsum.inference:LoadedModel",
    "Prediction": "digitsum.predictions:Prediction",
    "Predictions": "digitsum.predictions:Predictions",
    "Recipe": "digitsum.recipe:Recipe",
    "Result": "digitsum.training.events:Result",
    "StripSet": "digitsum.datasets.strips:StripSet",
    "adapt": "digitsum.training.adapting:adapt",
    "compare": "digitsum.evaluation.comparison:compare",
    "compose": "digitsum.datasets.synthesis:compose",
    "evaluate": "digitsum.evaluation.scoring:evaluate",
    "load": "digitsum.inference:load_model",
    "open_data": "digitsum.datasets:open_data",
    "predict_files": "digitsum.file_predictor:predict_files",
    "resume": "digitsum.training:resume",
    "train": "digitsum.training:train",
}

__all__ = [
    "Adaptation",
    "Architecture",
    "EpochRecord",
    "LoadedModel",
    "Prediction",
    "Predictions",
    "Recipe",
    "Result",
    "StripSet",
    "__version__",
    "adapt",
    "compare",
    "compose",
    "evaluate",
    "load",
    "open_data",
    "predict_files",
    "resume",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'digitsum' has no attribute '{name}'")
    from importlib import import_module

    module, _, original = _PUBLIC[name].partition(":")
    return getattr(import_module(module), original)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
