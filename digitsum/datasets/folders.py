"""What a folder holds, in the order of its numbers, and what is left out of it, in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from digitsum.display import counted
from digitsum.errors import DataError

LONGEST = 300  # digits of a number in a name; of thousands, Python makes none
NAMED = 3  # files that a line names, at most


def entries(folder: Path) -> list[Path]:
    """What a folder holds, in no order.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


def by_number(path: Path) -> list[tuple[int, str]]:
    """A key that sorts `2.png` before `10.png`."""
    runs = re.findall(r"\d+|\D+", path.name)
    return [
        (int(run), "") if run.isdecimal() and len(run) <= LONGEST else (-1, run) for run in runs
    ]


def is_hidden(path: Path) -> bool:
    """Whether a name begins with a dot, as that of `._1.png`, which macOS lays beside `1.png`."""
    return path.name.startswith(".")


def named(paths: Sequence[Path | str]) -> str:
    """The first few names of files, and whether there are more."""
    names = [str(path) for path in paths[:NAMED]]
    return ", ".join([*names, "…"] if len(paths) > NAMED else names)


def left_out(folder: Path, taken: Collection[Path], wanted: str) -> list[str]:
    """A line about what a folder holds besides `taken`; none if that is all.

    Args:
        folder: The folder.
        taken: What is read of it.
        wanted: What is read in a folder, in words.
    """
    rest = sorted(set(entries(folder)) - set(taken), key=by_number)
    hidden = [path for path in rest if is_hidden(path)]
    folders = [path for path in rest if path not in hidden and path.is_dir()]
    files = [path for path in rest if path not in hidden and path not in folders]
    groups = (("file", files), ("hidden file", hidden), ("folder", folders))
    parts = [
        f"{counted(len(paths), kind)} ({named([p.name for p in paths])})"
        for kind, paths in groups
        if paths
    ]
    return [f"{folder}: left out {', '.join(parts)}; read are {wanted}"] if parts else []
