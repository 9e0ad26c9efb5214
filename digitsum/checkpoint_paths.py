"""What the checkpoints of a run are called, and where the bundled one lies."""

from __future__ import annotations

from pathlib import Path

BUNDLED = ("reader",)  # names of the weights that come with the package


def is_checkpoint(path: Path) -> bool:
    """Whether the name ends in .pt, in any case."""
    return path.suffix.lower() == ".pt"


def is_last(path: Path) -> bool:
    """Whether the name is that of a checkpoint to resume from, `….last.pt`."""
    return is_checkpoint(path) and path.stem.endswith(".last")


def best_path(last: Path) -> Path:
    """`cnn.pt` for `cnn.last.pt`: the inverse of `last_path`."""
    return last.with_name(last.stem.removesuffix(".last") + last.suffix)


def last_path(path: Path) -> Path:
    """`cnn.last.pt` for `cnn.pt`: the checkpoint that a run resumes from."""
    return path.with_name(f"{path.stem}.last{path.suffix}")


def locate_checkpoint(name: Path | str) -> Path:
    """The file of a checkpoint; `reader` names the bundled one, unless a file has that name."""
    if str(name) in BUNDLED and not Path(name).exists():
        return bundled_path(str(name))
    return Path(name)


def bundled_path(name: str) -> Path:
    """Where the bundled weights of that name lie."""
    from importlib import resources  # not at the top: it would slow --help down

    return Path(str(resources.files("digitsum") / "weights" / f"{name}.pt"))
