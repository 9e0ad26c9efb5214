"""What there is to know: about this installation, and about a checkpoint."""

from __future__ import annotations

import platform
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import torch

from digitsum import __version__
from digitsum.checkpoint import SHIPPED, Checkpoint
from digitsum.compute import Compute
from digitsum.datasets.digits import cache_folder

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "typer", "rich", "pyyaml")
HISTORY = ("epoch", "train_loss", "val_loss", "val_exact_accuracy", "val_within_one_accuracy",
           "lr", "seconds", "strips_per_second", "best", "attempt")  # fmt: skip


def installation() -> dict[str, Any]:
    """Versions, devices, folders and shipped weights: what a bug report needs. Plain values."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "missing"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    shipped = resources.files("digitsum") / "weights"
    return {
        "digitsum": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages,
        "threads": torch.get_num_threads(),
        "devices": ["cpu", *(f"cuda:{i} {name}" for i, name in enumerate(gpus)), *["mps"] * mps],
        "auto": str(Compute.resolve("auto", "auto")),
        "cache": str(cache_folder()),
        "weights": {name: str(Path(str(shipped / f"{name}.pt"))) for name in SHIPPED},
    }


def card(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint is, in plain values: where it comes from, how it was made, how good it is.

    Args:
        name: As it was given.
        checkpoint: From `checkpoint.load`.
    """
    return {
        "model": name,
        "arch": checkpoint.arch,
        "parameters": _trained(checkpoint),
        "epoch": checkpoint.metrics["epoch"],
        "epochs_done": len(checkpoint.history),
        "resumable": checkpoint.resumable,
        "data": {
            **checkpoint.data,
            "train": len(checkpoint.split["train"]),
            "val": len(checkpoint.split["val"]),
        },
        "metrics": {part: checkpoint.metrics[part] for part in ("train", "val")
                    if part in checkpoint.metrics},
        "recipe": checkpoint.recipe,
        "versions": checkpoint.versions,
    }  # fmt: skip


def _trained(checkpoint: Checkpoint) -> int:
    """Number of trained weights: all but the running statistics of batch norm."""
    kept = (".running_mean", ".running_var", ".num_batches_tracked")
    return sum(w.numel() for name, w in checkpoint.weights.items() if not name.endswith(kept))
