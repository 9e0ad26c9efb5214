"""digitsum in ten lines: compose strips, predict their sums, score the predictions.

Usage: python examples/ten_lines.py
"""

import digitsum

made = digitsum.compose("builtin", strips=500, seed=7)  # images, sums, and what stands where
model = digitsum.load("reader")  # the bundled weights, or the path of a checkpoint
predictions = model.predict(made.images[:5])  # .sum, .confidence, .digits and .positions
for prediction, true in zip(predictions, made.sums[:5], strict=True):
    print(f"{prediction} (true sum {true})")
print(digitsum.evaluate(model, made.as_strips("mine")))
