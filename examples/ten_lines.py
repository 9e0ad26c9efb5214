"""digitsum from Python in ten lines: compose strips, read them, score the readings."""

import digitsum
from digitsum.datasets import StripSet
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose

made = compose(load_digits("builtin"), strips=500, seed=7)  # strips, sums, and the truth
model = digitsum.load("reader")  # the weights that ship, or the path of a checkpoint
readings = model.predict(made.images)  # of four digits each, as the model was trained
print(readings.sum[:5], made.sums[:5], readings.digits[:2].tolist(), readings.confidence[:2])
strips = StripSet(["mine"], [made.images], made.sums, lambda: made.truth.digits)
print(digitsum.evaluate(model, strips).splits["data"])
