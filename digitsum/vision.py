"""torchvision, imported only where a ResNet or MNIST is asked for: it takes seconds."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from digitsum.errors import InstallationError


def torchvision(part: str) -> ModuleType:
    """`torchvision.PART`.

    Raises:
        InstallationError: It cannot be imported, mostly because it and torch come from different
            builds (`operator torchvision::nms does not exist`).
    """
    try:
        return import_module(f"torchvision.{part}")
    except (ImportError, RuntimeError) as error:
        raise InstallationError(
            f"torchvision cannot be imported ({str(error).splitlines()[0]}): torch and torchvision "
            "must come from the same build; install both with one pip command, from one index"
        ) from error
