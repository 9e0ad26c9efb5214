"""Predicts strips with an exported model: NumPy and onnxruntime, no torch.

Usage: python examples/without_torch.py reader.onnx images.npy

The model is written by: digitsum export reader reader.onnx
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
strips = np.load(sys.argv[2])  # uint8 (N, 40, W)
value, sums, *rest = session.run(None, {"strips": strips})
for i in range(len(strips)):
    line = f"sum {sums[i]}"
    if rest:  # a reader also gives probabilities, and the digit in each column or -1
        confidence, count_probability, columns = rest
        digits = " + ".join(str(digit) for digit in columns[i] if digit >= 0)
        line += f" = {digits}, confidence {100 * confidence[i]:.1f}%"
    print(line)
