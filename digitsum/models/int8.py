"""A net of columns in 8-bit integers, for prediction.

It is some four times as fast where a processor has instructions for them (VNNI), and nearly as
accurate (docs/performance.md has both figures).

Weights are whole numbers in -127..127 with a scale for each output channel, what flows from one
convolution to the next whole numbers in 0..255 with a scale for each place, found on samples.
Sums of products run in 32 bits. The operators are oneDNN's, those that PyTorch's own
quantization for x86 processors compiles to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from digitsum.errors import UsageError
from digitsum.models.base import Architecture
from digitsum.models.blocks import Residual
from digitsum.predictions import Predictions


def is_supported() -> bool:
    """Whether this PyTorch has the operators, and oneDNN to run them."""
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.onednn, name) for name in ("qconv_prepack", "qconv2d_pointwise")
    )


def to_int8(
    model: Architecture,
    stages: Sequence[nn.Module],
    head: nn.Linear,
    samples: NDArray[np.uint8],
) -> Int8Model:
    """A model that computes in 8-bit integers.

    Args:
        model: In evaluation mode, its batch norms folded (`fold_batch_norm`).
        stages: Its convolutions, each followed by a ReLU, its residual blocks and its pooling over
            all rows, in order.
        head: Its last layer, features to logits in each column.
        samples: (N, 40, W) uint8, like the strips that it will be given.

    Raises:
        UsageError: This PyTorch has no such operators, or they fail on this processor.
    """
    if not is_supported():
        raise UsageError("--precision int8: this PyTorch has no oneDNN for it; give auto or fp32")
    strips = torch.from_numpy(samples).unsqueeze(1).float() / 255
    try:
        made = Int8Model(model, stages, head, strips)
        with torch.inference_mode():
            made(strips[:1])  # operators that are there may still fail
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--precision int8 fails on this processor ({reason}): give auto or fp32"
        ) from error
    return made


class Int8Convolution:
    """A convolution and ReLU, optionally with something added between them.

    Args:
        convolution: With a bias, in float32.
        scale_in: What 1 in the input stands for.
        scale_out: What 1 in the output stands for.
    """

    def __init__(self, convolution: nn.Conv2d, scale_in: float, scale_out: float) -> None:
        weight = convolution.weight.detach()
        self.scales = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
        self.whole = (weight / self.scales.view(-1, 1, 1, 1)).round().to(torch.int8)
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        assert convolution.bias is not None
        self.bias = convolution.bias.detach()
        self.scale_in, self.scale_out = scale_in, scale_out
        # stride, padding, dilation, groups
        self.shape = [list(convolution.stride), [int(p) for p in convolution.padding], [1, 1], 1]
        self._pack()

    def _pack(self) -> None:
        self.weight = torch.ops.onednn.qconv_prepack(
            self.whole, self.scales, self.scale_in, 0, *self.shape, None
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "weight"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._pack()  # as suits the processor, which may be another

    def __call__(self, x: Tensor, added: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """uint8 to uint8; `added`, whose 1 stands for `scale`, is written over."""
        weight = (x, self.scale_in, 0, self.weight, self.scales, self.zeros)
        out = (*self.shape, self.scale_out, 0, torch.uint8)
        result: Tensor
        if added is None:
            operator = torch.ops.onednn.qconv2d_pointwise.default
            result = operator(*weight, self.bias, *out, "relu", [], "")
        else:
            operator = torch.ops.onednn.qconv2d_pointwise.binary
            after = (scale, 0, "sum", 1.0, "relu")
            result = operator(*weight, added, self.bias, *out, *after, [], "")
        return result


class Int8Model(Architecture):
    """Predicts as the model that it is made of does; it cannot be trained.

    Args:
        model: In evaluation mode, its batch norms folded.
        stages: See `to_int8`.
        head: See `to_int8`.
        samples: Strips (N, 1, 40, W) in 0..1; the largest number that they lead to at a place is
            the largest that can stand there.
    """

    any_width = crops = True

    def __init__(
        self, model: Architecture, stages: Sequence[nn.Module], head: nn.Linear, samples: Tensor
    ) -> None:
        super().__init__(model.width)
        self.head = head
        self.predict_as, self.columns_as = model.predict, model.column_probabilities
        self.stages: list[Callable[[Tensor], Tensor]] = []
        self.scale, x = 1 / 255, samples  # pixels are 8-bit integers as they are
        with torch.inference_mode():
            for stage in stages:
                x = self._add(stage, x)

    def _add(self, stage: nn.Module, x: Tensor) -> Tensor:
        """Converts one more stage; gives what comes out of it for the samples `x`."""
        if isinstance(stage, nn.MaxPool2d):
            self.stages.append(_highest)
            return cast(Tensor, stage(x))
        before = self.scale
        if isinstance(stage, nn.Conv2d):
            x = F.relu(stage(x), inplace=True)
            self.scale = _scale(x)
            self.stages.append(Int8Convolution(stage, before, self.scale))
        elif isinstance(stage, Residual):
            first, second = (m for m in stage.branch if isinstance(m, nn.Conv2d))
            inner = F.relu(first(x), inplace=True)
            x = F.relu(x + second(inner), inplace=True)
            between, self.scale = _scale(inner), _scale(x)
            narrow = Int8Convolution(first, before, between)
            wide = Int8Convolution(second, between, self.scale)
            self.stages.append(partial(_residual, narrow, wide))
        else:
            raise TypeError(f"there is no 8-bit form of {type(stage).__name__}")
        return x

    def forward(self, strips: Tensor) -> Tensor:
        """(B, 1, 40, W) float32 in 0..1 -> (B, T, 11) log-probabilities, as the original."""
        x = (strips * 255).round().to(torch.uint8).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        features = (x.float() * self.scale).squeeze(2).transpose(1, 2)
        log_probs: Tensor = self.head(features).log_softmax(-1)
        return log_probs

    def loss(self, outputs: Tensor, sums: Tensor, progress: float) -> Tensor:
        """There is none: 8-bit integers have no gradients."""
        raise UsageError("--precision int8 is for prediction alone: train in fp32 or bf16")

    def predict(self, outputs: Tensor, digits_per_strip: int | None = None) -> Predictions:
        """Predicts as the original model does."""
        return self.predict_as(outputs, digits_per_strip)

    def column_probabilities(self, outputs: Tensor) -> Tensor | None:
        """Gives the probabilities that the original model would."""
        return self.columns_as(outputs)


def _residual(first: Int8Convolution, second: Int8Convolution, x: Tensor) -> Tensor:
    return second(first(x), x, first.scale_in)


def _highest(x: Tensor) -> Tensor:
    """Max-pooling over all rows, which PyTorch has for no 8-bit integers.

    Row by row it takes a twentieth of the time of `amax`.
    """
    highest = reduce(torch.maximum, x.unbind(2)).unsqueeze(2)
    return highest.contiguous(memory_format=torch.channels_last)


def _scale(x: Tensor) -> float:
    return max(float(x.max()), 1e-6) / 255
