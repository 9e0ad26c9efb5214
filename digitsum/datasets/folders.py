"""What a folder holds, in the order of its numbers, and what is left out of it, in words."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from digitsum.display import counted
from digitsum.errors import DataError

LONGEST = 300  # digits of a number in a name; of thousands, Python makes none
NAMED = 3  # files that a line names, at most
LABELS = re.compile(r"(lab|truth|count).*", re.IGNORECASE)  # names of what belongs to strips


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


def arrays_in(folder: Path) -> list[Path]:
    """The `.npy` files of a folder that are named as strips, not as labels, in numeric order."""
    found = [
        path
        for path in entries(folder)
        if path.suffix.lower() == ".npy"
        and not is_hidden(path)
        and not LABELS.fullmatch(path.name)
        and not path.is_dir()
    ]
    return sorted(found, key=by_number)


def is_pattern(path: Path) -> bool:
    """Whether a name is a pattern such as `scans/*.png`, and not that of something there."""
    return glob.has_magic(str(path)) and not path.exists()


def matching(pattern: Path) -> list[Path]:
    """The files that a pattern names, folder by folder in numeric order.

    `**` is any folders, hidden ones and links to folders aside: links may lead round in a circle.

    Raises:
        DataError: There is none.
    """
    found = [path for path in map(Path, set(_expanded(pattern))) if not path.is_dir()]
    if not found:
        raise DataError(f"{pattern} does not exist, and as a pattern no file's name matches it")
    return sorted(found, key=lambda path: [by_number(Path(part)) for part in path.parts])


def _expanded(pattern: Path) -> Iterator[str]:
    """All names that match; of several `**`, some may come twice."""
    parts = pattern.parts
    if "**" not in parts:
        # Path.glob would take a name such as `../x*` apart in another way on each Python
        yield from glob.iglob(str(pattern))  # noqa: PTH207
        return
    at = parts.index("**")
    rest = Path(*(parts[at + 1 :] or ["*"]))
    for root in glob.iglob(str(Path(*parts[:at]))) if at else ["."]:  # noqa: PTH207
        for folder, inner, _ in os.walk(root):
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from _expanded(glob.escape(folder) / rest)


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
