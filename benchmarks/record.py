"""Writes what a training run came to as JSON: recipe, history, metrics of best and last weights.

Usage: python benchmarks/record.py cnn.pt benchmarks/results/report_cnn.json --data mnist-test

Each --data adds the metrics of both sets of weights on strips that the run did not use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from measuring import processor

from digitsum import checkpoint as checkpoints
from digitsum import evaluation
from digitsum.cli import options
from digitsum.datasets import open_data
from digitsum.inference import load_model
from digitsum.outputs import last_path


def record(
    run: Annotated[Path, typer.Argument(help="A checkpoint; its .last.pt lies beside it.")],
    out: Annotated[Path, typer.Argument(help="The JSON to write.")],
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
) -> None:
    kept = checkpoints.load(run)
    others = [open_data([name], None, mnist_root) for name in data or []]
    weights = {}
    for name, path in (("best", run), ("last", last_path(run))):
        model = load_model(path, precision=str(kept.recipe["precision"]))
        weights[name] = dict(model.checkpoint.metrics)
        for strips in others:
            scored = evaluation.evaluate(model, strips).splits["data"]
            weights[name][strips.name[0]] = scored.to_dict()
    document = {
        "arch": kept.arch,
        "recipe": kept.recipe,
        "data": kept.data,
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
        },
        "versions": kept.versions,
        "metrics": weights,
        "history": kept.history,
    }
    out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(record)
