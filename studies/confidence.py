"""Calibration of the reader's confidence, and its accuracy at lower coverage.

Usage: python studies/confidence.py [RUN.pt]

A temperature is fitted on validation strips and tried on `mnist-test`. For the bundled weights
these are the plain MNIST strips among the validation strips of their last round. For RUN, a
reader's checkpoint of a run on `mnist`, they are its own validation strips.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from study import ACCURACY, Study, drawing, fingerprint
from weights import ROUNDS, training_strips

from digitsum.datasets import open_data
from digitsum.datasets.split import split_rows
from digitsum.datasets.strips import StripSet
from digitsum.device import CPU_BATCH
from digitsum.evaluation.metrics import calibration_error, reliability, selective_accuracy
from digitsum.evaluation.overlap import split_rows_of
from digitsum.inference import LoadedModel, load_model
from digitsum.models.sum_likelihood import sum_distribution

COVERAGES = (80, 90, 95, 100)
TEMPERATURES = np.round(np.arange(0.7, 1.5, 0.02), 2)


@torch.inference_mode()
def distributions(model: LoadedModel, data: StripSet) -> NDArray[np.float64]:
    """P(sum) of each strip, (N, S)."""
    found = []
    for chunk in data.chunks(size=CPU_BATCH):
        outputs = model.module(model.device.normalize(torch.from_numpy(chunk)))
        found.append(sum_distribution(outputs, model.recipe.digits_per_strip)[0].double().numpy())
    return np.concatenate(found)


def cooled(found: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """P(sum)^(1/T), normalised; the order of the sums stays."""
    powers = (found / found.max(1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def nll(found: NDArray[np.float64], sums: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true sums, in nats."""
    return float(-np.log(np.maximum(found[np.arange(len(sums)), sums], 1e-30)).mean())


def measured(found: NDArray[np.float64], sums: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, calibration, and accuracy by coverage."""
    confidence, right = found.max(1), found.argmax(1) == sums
    accuracy = selective_accuracy(confidence, right)
    bins = zip(*reliability(confidence, right, 10), strict=True)
    return {
        "exact_accuracy": 100 * float(right.mean()),
        "mean confidence": 100 * float(confidence.mean()),
        "ece": calibration_error(confidence, right),
        "nll": nll(found, sums),
        **{f"at {c}% coverage": float(accuracy[len(sums) * c // 100 - 1]) for c in COVERAGES},
        "bins": [[int(n), float(mean), float(correct)] for n, mean, correct in bins if n],
        "curve": [float(a) for a in accuracy[99::100]],
    }


def taken(strips: StripSet, rows: NDArray[np.int64]) -> StripSet:
    """The strips of some ascending rows as a set of their own."""
    return StripSet.from_arrays(np.concatenate(list(strips.chunks(rows))), strips.sums[rows])


def of_the_run(model: LoadedModel) -> StripSet:
    """The validation strips of a run on `mnist`."""
    strips = open_data("mnist")
    return taken(strips, split_rows_of(model.checkpoint, strips)["val"])


def of_the_last_round() -> StripSet:
    """The plain MNIST strips among the validation strips of the bundled weights' last round."""
    final = ROUNDS[max(ROUNDS)]
    rows = split_rows(sum(component.count for component in final.components), 0).val
    plain = final.components[0]  # the first rows
    strips = training_strips(replace(final, components=(plain,)), 0)
    return taken(strips, np.sort(rows[rows < plain.count]))


def study(
    run: Annotated[str | None, typer.Argument(help="A reader's run on mnist.")] = None,
) -> None:
    """Measures calibration, and accuracy by coverage."""
    kept, test = Study("confidence"), open_data("mnist-test")

    def plain(name: str) -> dict[str, Any]:
        return measured(distributions(load_model(name, precision="fp32"), test), test.sums)

    def with_temperature(name: str) -> dict[str, Any]:
        model = load_model(name, precision="fp32")
        own = of_the_last_round() if name == "reader" else of_the_run(model)
        found = distributions(model, own)
        losses = [nll(cooled(found, t), own.sums) for t in TEMPERATURES]
        best = float(TEMPERATURES[int(np.argmin(losses))])
        return {
            "temperature": best,
            **measured(cooled(distributions(model, test), best), test.sums),
        }

    for who, name in {"bundled weights": "reader", "seed 0": run}.items():
        if name is not None:
            own = fingerprint(name)
            kept.cell(who, partial(plain, name), own)
            kept.cell(f"{who}, temperature from validation", partial(with_temperature, name), own)
    headings = {
        "temperature": "temperature",
        "exact_accuracy": ACCURACY,
        "mean confidence": "mean confidence %",
        "ece": "ECE, points",
        "nll": "NLL, nats",
        **{f"at {c}% coverage": f"at {c}% coverage" for c in COVERAGES},
    }
    kept.show(headings)
    with drawing("confidence") as axes:
        for key, cell in kept.cells.items():
            if "temperature" not in cell:  # a temperature hardly changes the order of strips
                coverage = np.arange(1, len(cell["curve"]) + 1)
                axes.plot(coverage, cell["curve"], label=key)
        axes.set(xlabel="coverage %", ylabel=ACCURACY, ylim=(97, 100.05))
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
