"""What the shell offers after Tab. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from digitsum.display import on_one_line

DATA = ("builtin", "mnist", "mnist-test")  # as in digitsum.datasets.NAMES


def architectures(incomplete: str) -> list[str]:
    """Names of architectures, which are those of their recipes."""
    from digitsum.recipe import names

    return _named(names(), incomplete)


def checkpoints(incomplete: str) -> list[str]:
    """`reader`, and the checkpoints and folders that begin so."""
    return _named(("reader",), incomplete) + _paths(incomplete, (".pt",))


def data(incomplete: str) -> list[str]:
    """Names of strips, and the `.npy` files and folders that begin so."""
    return _named(DATA, incomplete) + _paths(incomplete, (".npy",))


def recipe_files(incomplete: str) -> list[str]:
    """Variants of recipes, and the YAML files and folders that begin so."""
    from digitsum.recipe import variants

    return [*_named(variants(), incomplete), *_paths(incomplete, (".yaml", ".yml"))]


def _named(names: Sequence[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files with these suffixes and folders with a slash, but none with odd characters."""
    folder, _, start = incomplete.rpartition("/")
    root = f"{folder}/" if "/" in incomplete else ""
    try:
        found = sorted(Path(root or ".").iterdir())
    except OSError:
        return []
    return [
        root + path.name + ("/" if path.is_dir() else "")
        for path in found
        if path.name.startswith(start)
        and not path.name.startswith(".")
        and path.name == on_one_line(path.name)
        and (path.is_dir() or path.suffix.lower() in suffixes)
    ]
