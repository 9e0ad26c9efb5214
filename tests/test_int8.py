"""The reader in 8-bit integers: it reads as the reader does, and says where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fit

from digitsum.datasets.digits import load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.errors import UsageError
from digitsum.inference import load_model
from digitsum.models.int8 import is_supported
from digitsum.recipe import Recipe

pytestmark = pytest.mark.skipif(not is_supported(), reason="this PyTorch has no oneDNN")


@pytest.mark.slow
def test_it_reads_what_float32_reads() -> None:
    made = compose(load_digits("builtin"), 500, seed=7)
    exact, whole = (load_model("reader", "cpu", precision) for precision in ("fp32", "int8"))
    a, b = (model.predict(made.images, 4) for model in (exact, whole))
    assert np.mean(a.sum == b.sum) > 0.98
    assert abs(np.mean(a.sum == made.sums) - np.mean(b.sum == made.sums)) <= 0.01
    assert a.confidence is not None
    assert b.confidence is not None
    assert np.median(np.abs(a.confidence - b.confidence)) < 0.01
    assert exact.parameters == whole.parameters


@pytest.mark.slow
@pytest.mark.parametrize("width", [28, 41, 333])
def test_columns_are_probabilities_at_any_width(width: int) -> None:
    model = load_model("reader", "cpu", "int8").module
    with torch.inference_mode():
        log_probs = model(torch.rand(3, 1, 40, width))
    assert (log_probs.shape, log_probs.dtype) == ((3, -(-width // 4), 11), torch.float32)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:2]))


@pytest.mark.slow
def test_a_small_reader_reads_in_whole_numbers_too(strips: StripSet) -> None:
    recipe = Recipe("reader", epochs=1, digits_per_strip=2, size="small", batch_size=8)
    fit(recipe, strips, Path("small.pt"))
    exact, whole = (load_model("small.pt", "cpu", precision) for precision in ("fp32", "int8"))
    with torch.inference_mode():
        x = torch.from_numpy(strips.images()[:8]).unsqueeze(1).float() / 255
        a, b = exact.module(x).exp(), whole.module(x).exp()
    assert float((a - b).abs().max()) < 0.1


@pytest.mark.slow
def test_a_model_that_has_no_such_path_is_named(strips: StripSet) -> None:
    recipe = Recipe.from_dict({"arch": "cnn", "epochs": 1, "device": "cpu"})
    fit(recipe, strips, Path("cnn.pt"))
    with pytest.raises(
        UsageError, match=r"cnn\.pt: --precision int8 is not offered by this architecture"
    ):
        load_model("cnn.pt", "cpu", "int8")


def test_it_is_not_for_training() -> None:
    with pytest.raises(UsageError, match="precision: 'int8' is not allowed"):
        Recipe.from_dict({"arch": "reader", "precision": "int8"})
