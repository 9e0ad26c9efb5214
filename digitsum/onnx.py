"""Models as ONNX files, which run without torch.

In: `strips`, uint8 (N, 40, W), N free, W the model's. Out: `value` float32 (N,) and `sum` int64
(N,); for a reader also `confidence` and `count_probability` float32 (N,) and `digits` int8 (N, T),
the digit in each column of 4 pixels, -1 for a blank. Normalisation before the model and everything
after it are inside.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from digitsum.ambient import default_settings
from digitsum.datasets.strips import ROWS
from digitsum.errors import UsageError
from digitsum.files import whole_file
from digitsum.inference import LoadedModel
from digitsum.models.base import Architecture

OPSET = 18


class _Exported(nn.Module):
    """Pixels in, predictions out, without a branch that depends on them.

    Args:
        module: The model.
        known_count: How many digits each strip is known to hold; None if any number will do.
    """

    def __init__(self, module: Architecture, known_count: int | None) -> None:
        super().__init__()
        self.module, self.known_count = module, known_count

    def forward(self, strips: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(strips[:, None].float() / 255)
        return self.module.export(outputs, self.known_count)


def export(
    model: LoadedModel,
    path: Path,
    known_count: int | None,
    on_progress: Callable[[int], None] = lambda steps: None,
    overwrite: bool = True,
) -> None:
    """Writes a model as ONNX, whole or not at all.

    Args:
        model: On the CPU, in fp32.
        path: The file.
        known_count: How many digits each strip is known to hold; None if any number will do.
        on_progress: Told of each of two steps, conversion and writing, when it is done.
        overwrite: Whether a file that is there is replaced.

    Raises:
        UsageError: The architecture cannot be exported, or is not on the CPU in fp32.
        OutputError: The file cannot be written.
        OutputExistsError: It is there, and `overwrite` is False.
    """
    if not model.module.export_names:
        raise UsageError(f"{model.name} cannot be exported: its architecture has no export")
    if str(model.device) != "cpu, fp32":
        raise UsageError(f"a model is exported from the CPU in fp32, not from {model.device}")
    exported = _Exported(model.module, known_count).eval()
    example = torch.zeros(2, ROWS, model.width, dtype=torch.uint8)
    with default_settings(), torch.inference_mode():
        program = torch.onnx.export(
            exported, (example,), dynamo=True, opset_version=OPSET, optimize=True, verbose=False,
            input_names=["strips"], output_names=list(model.module.export_names),
            dynamic_shapes={"strips": {0: torch.export.Dim("strips")}},
        )  # fmt: skip
    assert program is not None
    file = program.model_proto
    for node in file.graph.node:  # each tells the lines of Python, and the folders, it comes from
        del node.metadata_props[:]
    on_progress(1)
    with whole_file(path, overwrite) as stream:
        stream.write(file.SerializeToString())
    on_progress(1)
