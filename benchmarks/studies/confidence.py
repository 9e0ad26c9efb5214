"""Whether the reader is as sure as it is right, and what it can leave out to be surer.

Usage: python benchmarks/studies/confidence.py [RUN.pt]

A temperature is fitted on validation strips and tried on `mnist-test`: for the weights that ship on
the plain MNIST strips among those that their last round was chosen by, and for RUN, a reader's
checkpoint of a run on `mnist`, on its own.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from study import Study, drawing, fingerprint
from weights import ROUNDS, strips_to_learn_from

from digitsum.columns import sum_distribution
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.datasets.split import split_rows
from digitsum.evaluation import parts
from digitsum.inference import BATCH, LoadedModel, load_model
from digitsum.metrics import calibration_error, reliability, selective_accuracy

COVERAGES = (80, 90, 95, 100)
TEMPERATURES = np.round(np.arange(0.7, 1.5, 0.02), 2)


@torch.inference_mode()
def distributions(model: LoadedModel, data: StripSet) -> NDArray[np.float64]:
    """P(sum) of each strip, (N, S)."""
    found = []
    for chunk in data.chunks(size=BATCH):
        outputs = model.module(model.compute.strips(torch.from_numpy(chunk)))
        found.append(sum_distribution(outputs, model.recipe.digits_per_strip).double().numpy())
    return np.concatenate(found)


def cooled(found: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """P(sum)^(1/T), rows adding up to one: the order of the sums stays."""
    powers = (found / found.max(1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def nll(found: NDArray[np.float64], sums: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true sums, in nats."""
    return float(-np.log(np.maximum(found[np.arange(len(sums)), sums], 1e-30)).mean())


def measured(found: NDArray[np.float64], sums: NDArray[np.int64]) -> dict[str, Any]:
    """Calibration and selective accuracy."""
    confidence, right = found.max(1), found.argmax(1) == sums
    accuracy = selective_accuracy(confidence, right)
    count, sure, correct = reliability(confidence, right, 10)
    return {
        "exact": 100 * float(right.mean()),
        "mean confidence": 100 * float(confidence.mean()),
        "ece": calibration_error(confidence, right),
        "nll": nll(found, sums),
        **{f"at {c}%": float(accuracy[len(sums) * c // 100 - 1]) for c in COVERAGES},
        "bins": [
            [int(n), float(s), float(c)] for n, s, c in zip(count, sure, correct, strict=True) if n
        ],
        "curve": [float(a) for a in accuracy[99::100]],
    }


def taken(strips: StripSet, rows: NDArray[np.int64]) -> StripSet:
    """Some rows, ascending, as a set of their own."""
    return StripSet.of_arrays(np.concatenate(list(strips.chunks(rows))), strips.sums[rows])


def of_the_run(model: LoadedModel) -> StripSet:
    """The validation strips of a run on `mnist`."""
    strips = open_data("mnist")
    return taken(strips, parts(model.checkpoint, strips)["val"])


def of_the_last_round() -> StripSet:
    """Of the weights that ship: their last round's validation strips of MNIST's plain digits."""
    final = ROUNDS[max(ROUNDS)]
    strips = strips_to_learn_from(final, None)
    rows = split_rows(len(strips), 0).val
    return taken(strips, np.sort(rows[rows < final.parts[0].count]))


def study(
    run: Annotated[str | None, typer.Argument(help="A reader's run on mnist.")] = None,
) -> None:
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

    for who, name in {"weights that ship": "reader", "seed 0": run}.items():
        if name is not None:
            own = fingerprint(name)
            kept.cell(who, partial(plain, name), own)
            kept.cell(f"{who}, temperature from validation", partial(with_temperature, name), own)
    names = ["temperature", "exact", "mean confidence", "ece", "nll"]
    names += [f"at {c}%" for c in COVERAGES]
    kept.show({name: name for name in names})
    with drawing("confidence") as axes:
        for key, cell in kept.cells.items():
            if "temperature" not in cell:  # next to no strip changes places
                coverage = np.arange(1, len(cell["curve"]) + 1)
                axes.plot(coverage, cell["curve"], label=key)
        axes.set(xlabel="strips answered %, the surest first", ylabel="exact %", ylim=(97, 100.05))
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
