"""Writes the record of a training run as JSON: recipe, history, metrics of best and last weights.

Usage: python studies/record.py cnn.pt studies/results/report_cnn.json --data mnist-test

Each --data adds the metrics of both sets of weights on strips that the run did not use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from study import processor, scored

from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.cli import options
from digitsum.datasets import open_data
from digitsum.inference import load_model


def record(
    run: Annotated[Path, typer.Argument(help="A checkpoint; its .last.pt lies beside it.")],
    out: Annotated[Path, typer.Argument(help="The JSON to write.")],
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
) -> None:
    """Writes the record of a training run as JSON."""
    kept = load_checkpoint(run)
    others = [open_data(name, None, mnist_root) for name in data or []]
    weights = {}
    for name, path in (("best", run), ("last", last_path(run))):
        model = load_model(path, precision=str(kept.recipe["precision"]))
        weights[name] = dict(model.checkpoint.metrics)
        for strips in others:
            weights[name][strips.name[0]] = scored(model, strips)
    document = {
        "arch": kept.arch,
        "recipe": kept.recipe,
        "data": kept.data,
        "machine": {"processor": processor(), "threads": torch.get_num_threads()},
        "versions": kept.versions,
        "metrics": weights,
        "history": kept.history,
    }
    out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(record)
