"""Models as ONNX files, which run without torch.

In: `strips`, uint8 (N, 40, W), N free, W the model's. Out: `value` float32 (N,) and `sum` int64
(N,); of a reader also `confidence` float32 (N,) and `digits` int8 (N, T), the digit in each column
of 4 pixels, -1 for nothing. What `predict` does to pixels before the model and to outputs after it
is inside.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from digitsum.columns import best_way, joint
from digitsum.datasets.arrays import ROWS
from digitsum.errors import UsageError
from digitsum.inference import LoadedModel
from digitsum.models.reader import Reader
from digitsum.models.regressor import Regressor
from digitsum.outputs import whole_file

OPSET = 18


class _Reading(nn.Module):
    """Pixels in, readings out, without a branch that depends on them.

    Args:
        module: A reader or a regressor.
        count: Digits that each strip is known to hold; None: any number.
    """

    def __init__(self, module: nn.Module, count: int | None) -> None:
        super().__init__()
        self.module, self.count = module, count

    def forward(self, strips: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(strips[:, None].float() / 255)
        if isinstance(self.module, Regressor):
            return outputs, outputs.round().long()
        top = 9 * (outputs.shape[1] if self.count is None else self.count)
        table = joint(outputs.double(), self.count, top)[:, -1]  # float64 reaches down to 1e-300
        distribution = (table / table.sum(1, keepdim=True).clamp_min(1e-300)).float()
        confidence, sums = distribution.max(1)
        value = distribution @ torch.arange(top + 1, dtype=torch.float32)
        symbols = best_way(outputs, sums, self.count, top)
        return value, sums, confidence, (symbols - 1).to(torch.int8)


def export(model: LoadedModel, path: Path, digits_per_strip: int | None) -> None:
    """Writes a model as ONNX, whole or not at all.

    Args:
        model: On the CPU, in fp32.
        path: The file.
        digits_per_strip: How many digits each strip is known to hold; None: any number.

    Raises:
        UsageError: The model is neither a reader nor a regressor, or not on the CPU in fp32.
        OSError: The file cannot be written.
    """
    if not isinstance(model.module, Reader | Regressor):
        raise UsageError(f"'{model.arch}' cannot be exported: cnn, reader and resnet can")
    if str(model.compute) != "cpu, fp32":
        raise UsageError(f"a model is exported from the CPU in fp32, not from {model.compute}")
    reading = _Reading(model.module, digits_per_strip).eval()
    names = ["value", "sum"]
    names += ["confidence", "digits"] if isinstance(model.module, Reader) else []
    example = torch.zeros(2, ROWS, int(model.checkpoint.data["width"]), dtype=torch.uint8)
    quiet = contextlib.redirect_stdout(io.StringIO())  # the exporter talks
    with warnings.catch_warnings(), quiet, torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            reading, (example,), dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
            input_names=["strips"], output_names=names,
            dynamic_shapes={"strips": {0: torch.export.Dim("strips")}},
        )  # fmt: skip
    assert program is not None
    with whole_file(path) as stream:
        stream.write(program.model_proto.SerializeToString())
