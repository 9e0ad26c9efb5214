"""Exported models under onnxruntime, against torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fit
from typer.testing import CliRunner

from digitsum.cli import app
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose
from digitsum.inference import load_model
from digitsum.recipe import Recipe

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
pytestmark = pytest.mark.slow  # an export takes long
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def run(path: Path, strips: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"strips": strips}), strict=True))


@pytest.mark.filterwarnings("ignore::digitsum.errors.DataWarning")  # of the black strip
def test_a_reader_reads_as_in_torch(exported_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.checker.check_model(str(exported_reader))
    strips = compose(load_digits("builtin"), 1000, seed=8).images
    strips[0] = 0  # a black one holds no four digits, and is read all the same
    reader = load_model("reader", "cpu", "fp32")
    got, cropped = run(exported_reader, strips), reader.predict(strips, 4)
    assert np.mean(got["sum"] == cropped.sum) > 0.998
    assert np.mean(np.abs(got["confidence"] - cropped.confidence)) < 1e-3
    monkeypatch.setattr(type(reader.module), "crops", False)  # what is exported sees whole strips
    expected = reader.predict(strips, 4)
    assert np.array_equal(got["sum"], expected.sum)
    np.testing.assert_allclose(got["value"], expected.value, atol=1e-3)
    np.testing.assert_allclose(got["confidence"], expected.confidence, atol=1e-3)
    assert got["digits"].dtype == np.int8
    assert got["digits"].shape == (1000, 42)
    held = [row[row >= 0] for row in got["digits"]]
    assert [digits.sum() for digits in held] == expected.sum.tolist()
    assert expected.digits is not None
    same = [np.array_equal(a, b[b >= 0]) for a, b in zip(held, expected.digits, strict=True)]
    assert np.mean(same) > 0.998  # the black one's digits are anybody's guess
    assert len(run(exported_reader, strips[:1])["sum"]) == 1  # any number of strips


def test_a_regressor_reads_as_in_torch(strips: Any) -> None:
    fit(Recipe.from_dict({"arch": "cnn", "epochs": 1, "device": "cpu"}), strips, Path("cnn.pt"))
    result = CliRunner().invoke(app, ["export", "cnn.pt", "cnn.onnx"])
    assert result.exit_code == 0, result.output
    onnx.checker.check_model("cnn.onnx")
    got = run(Path("cnn.onnx"), strips.images())
    expected = load_model("cnn.pt", "cpu", "fp32").predict(strips.images())
    assert set(got) == {"value", "sum"}
    np.testing.assert_allclose(got["value"], expected.value, atol=1e-3)
    assert np.array_equal(got["sum"], expected.sum)
    again = CliRunner().invoke(app, ["export", "cnn.pt", "cnn.onnx"])
    assert "cnn.onnx exists" in again.stderr


def test_the_example_needs_no_torch(exported_reader: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "without_torch.py"
    made = compose(load_digits("builtin"), 3, seed=8)
    np.save("images.npy", made.images)
    code = (
        f"import runpy, sys; sys.argv[1:] = [{str(exported_reader)!r}, 'images.npy']\n"
        f"runpy.run_path({str(example)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, torch_loaded = done.stdout.splitlines()
    assert torch_loaded == "False"
    expected = load_model("reader", "cpu", "fp32").predict(made.images, 4).sum
    assert [line.split()[1] for line in lines] == [str(s) for s in expected]
