"""The base class of all architectures: what digitsum asks of one, and what one may offer besides.

Letters: B batch, H rows, W width, T columns along the width, K digits in a strip.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from digitsum.errors import RecipeError, UsageError
from digitsum.predictions import Predictions


class Architecture(nn.Module, ABC):
    """A model of strips, built as `Class(width, **options)`.

    The options are keyword arguments with annotations and defaults; they become keys of the
    recipe. A constructor reads and writes no files. Heads, losses and predictions are float32,
    also under bf16 autocast.

    `forward`, `loss` and `predict` must be there. The other members have defaults that say no.

    Args:
        width: Width of the strips that the model is trained on, in pixels.
    """

    any_width: ClassVar[bool] = False  # whether it takes strips of other widths too
    crops: ClassVar[bool] = False  # whether it takes strips without the black at their sides
    folds_batch_norm: ClassVar[bool] = False  # whether `fold_batch_norm` is right for its layers
    uses_digit_count: ClassVar[bool] = True  # whether a known number of digits changes predictions
    export_names: ClassVar[tuple[str, ...]] = ()  # of what `export` gives, in order
    # Whether `forward` and `loss` launch the same kernels for whatever strips, sums and progress,
    # so that a GPU can replay a step (see `digitsum.device`); progress is a 0-dim tensor then.
    replayable: bool = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @abstractmethod
    def forward(self, strips: Tensor) -> Any:
        """(B, 1, H, W) float32 in 0..1 -> outputs, a tensor or anything else that it likes."""

    @abstractmethod
    def loss(self, outputs: Any, sums: Tensor, progress: Any) -> Tensor:
        """Mean loss of outputs against sums (B,) float32, a scalar.

        Progress is a float, 0..1 over the run; for a `replayable` model on a GPU a 0-dim tensor.

        A loss that can use how many digits each strip is known to hold takes a fourth argument,
        `counts: Tensor | None = None`, (B,) int64. It is given where the strips come with counts.
        """

    def loss_of(self, outputs: Any, sums: Tensor, progress: Any, counts: Tensor | None) -> Tensor:
        """`loss`, which is given the counts (B,) if there are any and it takes them."""
        if counts is None or "counts" not in inspect.signature(self.loss).parameters:
            return self.loss(outputs, sums, progress)
        return self.loss(outputs, sums, progress, counts=counts)  # type: ignore[call-arg]

    @abstractmethod
    def predict(self, outputs: Any, digits_per_strip: int | None = None) -> Predictions:
        """Predictions for outputs; `digits_per_strip` is the known count, None if any will do."""

    def predict_counted(self, outputs: Any, counts: NDArray[np.int64]) -> Predictions:
        """Predictions for outputs of strips of which each holds its own known number of digits.

        Those of one count are predicted together, in the order of the counts.

        Args:
            outputs: Of B strips: a tensor, or tensors in dicts, lists and tuples.
            counts: (B,).

        Raises:
            UsageError: The outputs are of another kind; such an architecture needs a method of its
                own.
        """
        if not self.uses_digit_count:
            return self.predict(outputs, None)
        groups = [np.flatnonzero(counts == count) for count in np.unique(counts)]
        found = []
        for rows in groups:
            held = _rows_of(outputs, torch.from_numpy(rows))
            found.append(self.predict(held, int(counts[rows[0]])))
        return Predictions.concatenate(found).in_order(np.argsort(np.concatenate(groups)))

    def load_pretrained(self, weights: str) -> None:
        """Takes the weights that the recipe names; never called with `none`.

        Raises:
            RecipeError: The architecture always starts fresh.
            WeightsError: The weights cannot be had, or do not fit.
        """
        raise RecipeError(f"weights: {weights!r} is not allowed: this architecture takes none")

    @classmethod
    def starts_from_weights(cls) -> bool:
        """Whether there is a `load_pretrained`."""
        return cls.load_pretrained is not Architecture.load_pretrained

    def column_probabilities(self, outputs: Any) -> Tensor | None:
        """Probabilities (B, T, 11) of blank and the digits 0..9 in each column, if it has any."""
        return None

    def attention_map(self, strips: Tensor) -> Tensor | None:
        """Weights (B, 1, h, w) in 0..1 that the model gives to places of strips, if it has any."""
        return None

    def differentiable_value(self, outputs: Any) -> Tensor | None:
        """The estimate of the sum (B,) with its gradient, if there is one, for a saliency map."""
        return None

    def export(self, outputs: Any, digits_per_strip: int | None) -> tuple[Tensor, ...]:
        """What an ONNX file of the model gives, in the order of `export_names`, traceable."""
        raise NotImplementedError

    def to_int8(self, samples: NDArray[np.uint8]) -> Architecture:
        """The same model in 8-bit integers, for prediction on a CPU.

        Args:
            samples: (N, 40, W) uint8 strips on which ranges are measured.

        Raises:
            UsageError: The architecture, or this PyTorch, has no such form.
        """
        raise UsageError("--precision int8 is not offered by this architecture: give auto or fp32")


def _rows_of(outputs: Any, rows: Tensor) -> Any:
    """The outputs of some strips, by their numbers (n,).

    Raises:
        UsageError: They are no tensors, nor dicts, lists or tuples of them.
    """
    if isinstance(outputs, Tensor):
        return outputs[rows.to(outputs.device)]
    if isinstance(outputs, dict):
        return {key: _rows_of(value, rows) for key, value in outputs.items()}
    if type(outputs) in (list, tuple):
        return type(outputs)(_rows_of(value, rows) for value in outputs)
    raise UsageError(
        f"counts from strip to strip: outputs of {type(outputs).__name__} cannot be taken apart; "
        "give --digits-per-strip, or write predict_counted"
    )
