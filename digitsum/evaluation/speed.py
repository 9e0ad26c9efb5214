"""How many strips a second models predict, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from digitsum.datasets.strips import ROWS, StripSet
from digitsum.errors import prefixed
from digitsum.inference import DigitCount, LoadedModel

ROUNDS = 5  # of timing; the models take turns in each
TIMED_SECONDS = 0.5  # that a model predicts in a round, at least one batch
MOST_TIMED = 8  # batches that a model predicts in a round


def speeds_of(
    models: Sequence[LoadedModel], data: StripSet, asked: Sequence[DigitCount]
) -> list[float]:
    """Strips per second of each model: the median of rounds in which they take turns.

    The first round warms up and says how many strips a model predicts in `TIMED_SECONDS`.
    """
    batches = [1 for _ in models]
    most = MOST_TIMED * max(model.device.batch for model in models)
    first = next(data.chunks(size=most))
    strips = np.resize(first, (most, ROWS, data.width))
    counts = None if data.counts is None else np.resize(data.counts[: len(first)], most)
    rates: list[list[float]] = [[] for _ in models]
    for timed in range(ROUNDS + 1):
        for number, model in enumerate(models):
            count = batches[number] * model.device.batch
            start = time.perf_counter()
            with prefixed(model.name):
                known = model.digit_count(asked[number])
                own = None if counts is None or asked[number] is not None else counts[:count]
                model.predict_strips(strips[:count], known, own)
            rate = count / (time.perf_counter() - start)
            if timed:
                rates[number].append(rate)
            fitting = int(TIMED_SECONDS * rate) // model.device.batch
            batches[number] = min(MOST_TIMED, max(1, fitting))
    return [float(np.median(rate)) for rate in rates]
