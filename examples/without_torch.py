"""Reads strips with an exported model: NumPy and onnxruntime, no torch.

Usage: digitsum export reader reader.onnx && python examples/without_torch.py reader.onnx images.npy
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
strips = np.load(sys.argv[2])  # uint8 (N, 40, W)
value, total, *rest = session.run(None, {"strips": strips})
for i in range(len(strips)):
    said = f"sum {total[i]}"
    if rest:  # a reader's: confidence, and the digit in each column or -1
        digits = rest[1][i][rest[1][i] >= 0]
        said += f" = {' + '.join(map(str, digits))}, {100 * rest[0][i]:.1f}% sure"
    print(said)
