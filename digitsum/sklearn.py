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

from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.appearance import warn_of_appearance
from digitsum.datasets.arrays import as_strips, as_sums
from digitsum.datasets.fitting import fit_strips
from digitsum.datasets.strips import StripSet
from digitsum.errors import UsageError
from digitsum.inference import LoadedModel, make_ready
from digitsum.predictions import Predictions
from digitsum.recipe import Recipe, Scalar
from digitsum.training import train
from digitsum.training.adapting import adapt


class DigitSumRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the sum of the digits in image strips, and learns to from sums alone.

    A fifth of the strips given to `fit` is used for checkpoint selection.

    Args:
        arch: `cnn`, `reader`, `resnet`, or a class of your own as `module:Class`.
        epochs: Passes over the training strips; None: the recipe's.
        batch_size: Strips in a step; None: the recipe's.
        lr: Learning rate; None: the recipe's.
        seed: Random seed for initialisation, order, dropout and augmentation.
        options: Any other keys of the recipe, such as `{"digits_per_strip": 2}`; in a grid of
            parameters `options__digits_per_strip`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32` or `bf16`.
        progress: Whether `fit` shows a bar and a line for each epoch; by default only in a
            notebook.
        fit_rows: Whether strips of other heights are brought to 40 rows, to learn from and to
            predict; it is called `fit` elsewhere, which is a method here.
        init: What `fit` starts from: `reader`, the bundled weights, or a reader's checkpoint, which
            it then adapts to the strips as `digitsum.adapt` does; None: it trains from nothing.

    Attributes:
        checkpoint_: The best epoch's `digitsum.checkpoint.Checkpoint`; `history` in it.
        width_: Width of the strips it was fitted on, in pixels.
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
        progress: bool | None = None,
        fit_rows: bool = False,
        init: Path | str | None = None,
    ) -> None:
        self.arch = arch
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.options = options
        self.device = device
        self.precision = precision
        self.progress = progress
        self.fit_rows = fit_rows
        self.init = init

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; if deep, each of the options too, as `options__dropout`."""
        params: dict[str, Any] = super().get_params(deep)
        options = {f"options__{key}": value for key, value in (self.options or {}).items()}
        return {**params, **options} if deep else params

    def set_params(self, **params: Any) -> DigitSumRegressor:
        """Sets parameters; `options__dropout` sets one of the options and leaves the others."""
        prefix = "options__"
        options = {key.removeprefix(prefix): params.pop(key)
                   for key in list(params) if key.startswith(prefix)}  # fmt: skip
        super().set_params(**params)
        if options:
            self.options = {**(self.options or {}), **options}
        return self

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        progress: bool | None = None,
        counts: ArrayLike | None = None,
    ) -> DigitSumRegressor:
        """Trains from nothing, or adapts what `init` names; what an earlier fit learnt is dropped.

        Args:
            X: Strips (N, 40, W), flat (N, 6720), or any other shape and type that files hold.
            y: Sums (N,), whole and not negative.
            progress: For this fit, instead of the constructor's.
            counts: How many digits each strip holds, (N,), where that differs.

        Raises:
            DataError: These are no strips, sums or counts, or their numbers differ.
            RecipeError: A parameter is not allowed.
            UsageError: `init` is given, and is no reader.
            CheckpointError: `init` cannot be read.
        """
        named = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        given = {key: value for key, value in named.items() if value is not None}
        own = {"seed": self.seed, "device": self.device, "precision": self.precision}
        keys: dict[str, Any] = {**(self.options or {}), **given, **own}
        recipe = Recipe.from_dict({"arch": self.arch, **keys})
        if self.init is not None and recipe.arch != "reader":
            raise UsageError(f"arch '{recipe.arch}' takes no init: only a reader is adapted")
        images, sums = np.asarray(X), as_sums(np.asarray(y), "y")
        strips = fit_strips(images, "X") if self.fit_rows else as_strips(images, "X")
        data = StripSet.from_arrays(strips, sums, counts=counts)
        warn_of_appearance(data.files, "X")
        shown = self.progress if progress is None else progress
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            if self.init is None:
                train(data, recipe, out=path, progress=shown)
            else:
                adapt(data, self.init, out=path, progress=shown, **keys)
            self.checkpoint_ = load_checkpoint(path)
        self.width_ = data.width
        self._model: LoadedModel | None = None
        return self

    def predict(self, X: ArrayLike, counts: ArrayLike | None = None) -> NDArray[np.int64]:  # noqa: N803
        """Sums of strips X (N, 40, W), (N,); counts (N,) say how many digits each holds."""
        return self.predictions(X, counts).sum

    def predictions(self, X: ArrayLike, counts: ArrayLike | None = None) -> Predictions:  # noqa: N803
        """All that is predicted for strips X: value, sum and, by a reader, digits too."""
        check_is_fitted(self, "checkpoint_")
        return self._ready().predict(X, counts=counts, fit=self.fit_rows)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:  # noqa: N803
        """Exact-match accuracy on strips X, 0 to 1.

        This is not the R² of other regressors: sums are whole, and a sum that is nearly right is
        wrong. For errors of the value use `predictions(X).value` with `sklearn.metrics`.
        """
        right = self.predict(X) == as_sums(np.asarray(y), "y")
        weights = None if sample_weight is None else np.asarray(sample_weight)
        return float(np.average(right, weights=weights))

    def _ready(self) -> LoadedModel:
        """The model, built when it is first asked for; it is not copied or pickled."""
        if self._model is None:
            self._model = make_ready(
                self.checkpoint_, self.arch, self.device, self.precision, arch=[self.arch]
            )
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_model": None}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
