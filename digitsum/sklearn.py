"""digitsum as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from digitsum import checkpoint as checkpoints
from digitsum.datasets.arrays import StripSet, as_strips, as_sums
from digitsum.inference import LoadedModel, make_ready
from digitsum.readings import Readings
from digitsum.recipe import Recipe, Scalar
from digitsum.training import train


class DigitSumRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Reads the sum of the digits in image strips; learns to from the sums alone.

    Of the strips given to `fit` a fifth chooses the epoch whose weights are kept.

    Args:
        arch: `cnn`, `reader` or `resnet`.
        epochs: Passes over the training strips; None: the recipe's.
        batch_size: Strips in a step; None: the recipe's.
        lr: Learning rate; None: the recipe's.
        seed: Of initialisation, order, dropout and augmentation.
        options: Any other keys of the recipe, such as `{"digits_per_strip": 2}`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32` or `bf16`.

    Attributes:
        checkpoint_: The best epoch's `digitsum.checkpoint.Checkpoint`; `history` in it.
        width_: Columns of the strips it was fitted on.
    """

    def __init__(
        self,
        arch: str = "reader",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        seed: int = 0,
        options: Mapping[str, Scalar] | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.arch = arch
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.options = options
        self.device = device
        self.precision = precision

    def fit(self, X: ArrayLike, y: ArrayLike) -> DigitSumRegressor:  # noqa: N803
        """Trains from the start.

        Args:
            X: Strips (N, 40, W), flat (N, 6720), or any other shape and type that files hold.
            y: Sums (N,), whole and not negative.

        Raises:
            DataError: These are no strips or no sums, or their numbers differ.
            RecipeError: A parameter is not allowed.
        """
        named = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        keys: dict[str, Scalar] = {k: v for k, v in named.items() if v is not None}
        recipe = Recipe.from_dict(
            {
                "arch": self.arch,
                **(self.options or {}),
                **keys,
                "seed": self.seed,
                "device": self.device,
                "precision": self.precision,
            }
        )
        strips, sums = as_strips(np.asarray(X), "X"), as_sums(np.asarray(y), "y")
        data = StripSet.of_arrays(strips, sums)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            train(recipe, data, path)
            self.checkpoint_ = checkpoints.load(path)
        self.width_ = data.width
        self._model: LoadedModel | None = None
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:  # noqa: N803
        """Sums that are read in strips X (N, 40, W), (N,)."""
        return self.read(X).sum

    def read(self, X: ArrayLike) -> Readings:  # noqa: N803
        """Whole readings of strips X: values, sums and, of a reader, digits and confidence."""
        check_is_fitted(self, "checkpoint_")
        return self._ready().predict(X)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:  # noqa: N803
        """Share of the strips X whose sum is read exactly, 0 to 1.

        Not the R² of other regressors: sums are whole, and a sum that is nearly right is wrong.
        For errors of the value use `read(X).value` with `sklearn.metrics`.
        """
        right = self.predict(X) == as_sums(np.asarray(y), "y")
        weights = None if sample_weight is None else np.asarray(sample_weight)
        return float(np.average(right, weights=weights))

    def _ready(self) -> LoadedModel:
        """The model, built when it is first asked for; it is not copied or pickled."""
        if self._model is None:
            self._model = make_ready(self.checkpoint_, self.arch, self.device, self.precision)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_model": None}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
