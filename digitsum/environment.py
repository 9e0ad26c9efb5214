"""What is installed here: versions, devices and folders, as a bug report needs them."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import torch

from digitsum._version import __version__
from digitsum.checkpoint_paths import BUNDLED, bundled_path
from digitsum.datasets.digits import cache_folder
from digitsum.device import DeviceConfig

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "typer", "rich", "pyyaml")


def installation() -> dict[str, Any]:
    """Versions, devices, folders and bundled weights, in plain values."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "missing"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return {
        "digitsum": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages,
        "threads": torch.get_num_threads(),
        "devices": ["cpu", *(f"cuda:{i} {name}" for i, name in enumerate(gpus)), *mps],
        "auto": str(DeviceConfig.resolve()),
        "cache": str(cache_folder()),
        "weights": {name: str(bundled_path(name)) for name in BUNDLED},
    }
