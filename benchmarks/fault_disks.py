"""Disks that become full at every length of a file, for each command that writes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fault_children import Case, Ended, command, import_all_of, run_all, run_one
from fault_rows import Row, Session
from PIL import Image

from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.picture_folders import names_of_pictures
from digitsum.datasets.synthesis import compose
from digitsum.errors import DigitsumError

PAGE_SIZE = 4096
MOUNTED = 8  # sizes of a mounted disk for each command
NEAR_THE_END = (1, 2, 3, 7, 8, 9, 22, 100, 511, 512, 513, 1000, 2048, 3000, 4095, 4096, 4097)
REASON = re.compile(r"File too large|No space left on device|Disk quota exceeded")
OLD = b"old, and to be kept"


@dataclass(frozen=True)
class Writer:
    """A command that writes into the folder `disk`.

    Attributes:
        words: Of the command line.
        outputs: The files that it writes, in the folder.
        whole: Whether a file is whole, given the one that an undisturbed command wrote.
    """

    words: tuple[str, ...]
    outputs: tuple[str, ...]
    whole: Callable[[Path, bytes], bool]

    @property
    def name(self) -> str:
        """In a table."""
        kind = Path(self.outputs[0]).suffix
        return f"`{self.words[0]}` to {kind}"


def _equal(path: Path, content: bytes) -> bool:
    return path.read_bytes() == content


def _is_page(path: Path, content: bytes) -> bool:
    return path.read_bytes().rstrip().endswith(b"</html>")  # speeds in it differ


def _is_checkpoint(path: Path, content: bytes) -> bool:
    try:
        return bool(load_checkpoint(path))
    except DigitsumError:
        return False


def _writer(words: str, outputs: str, whole: Callable[[Path, bytes], bool] = _equal) -> Writer:
    return Writer(tuple(words.split()), tuple(outputs.split()), whole)


SET = "data0.npy data1.npy lab0.npy lab1.npy truth0.npz truth1.npz"
DRAWN = " ".join(names_of_pictures(9))
ADAPT = "adapt s --epochs 1 --digits-per-strip 1 --device cpu"
WRITERS = (
    _writer("predict s.npy --model c.pt --device cpu --out disk/r.csv", "r.csv"),
    _writer("predict s.npy --model c.pt --device cpu --out disk/r.jsonl", "r.jsonl"),
    _writer("predict s.npy --model c.pt --device cpu --out disk/r.json", "r.json"),
    _writer("predict s.npy --model c.pt --device cpu --out disk/r.npy", "r.npy"),
    _writer("synth disk --strips 60 --files 2 --per-strip 1", SET),
    _writer("report c.pt --data s --device cpu --out disk/r.html", "r.html", _is_page),
    _writer("export c.pt disk/c.onnx", "c.onnx"),
    _writer(
        "train --arch cnn --epochs 1 --device cpu --data s --out disk/m.pt",
        "m.pt m.last.pt",
        _is_checkpoint,
    ),
    _writer("predict 0.png --model c.pt --device cpu --annotate disk/r.png", "r.png"),
    _writer("predict 0.png --model c.pt --device cpu --annotate disk/r.jpg", "r.jpg"),
    _writer("synth disk --strips 9 --per-strip 1 --pictures", DRAWN),
    _writer(f"{ADAPT} --out disk/a.pt", "a.pt", _is_checkpoint),
)


def lay_out(place: Path) -> None:
    """Leaves strips, pictures and a checkpoint: the work of a child.

    That is `s.npy`, a set `s/`, `c.pt` of it, digits, and `0.png` with its sum in `sums.csv`.
    """
    made = compose("builtin", 510, (1, 1), seed=5)
    np.save(place / "s.npy", made.images)
    np.save(place / "digits.npy", np.zeros((20, 28, 28), np.uint8))
    np.save(place / "labels.npy", np.arange(20) % 10)
    Image.fromarray(made.images[0]).save(place / "0.png")
    (place / "sums.csv").write_text(f"file,sum,count\n0.png,{made.sums[0]},1\n")
    (place / "s").mkdir()
    np.save(place / "s/data0.npy", made.images[:20])
    np.save(place / "s/lab0.npy", made.sums[:20])
    words = "train --arch cnn --epochs 1 --device cpu --data s --out c.pt"
    with suppress(SystemExit):
        command(*words.split())()


def lengths_of(sizes: list[int], count: int) -> list[int]:
    """Lengths below the largest size: some spread evenly, most near the ends of the files."""
    most = max(sizes)
    near = {size - back for size in sizes for back in NEAR_THE_END if size >= back}
    near_largest = {most - back for back in NEAR_THE_END if most >= back}
    rest = max(2, count - len(near_largest))
    spread = {round(n * (most - 1) / rest) for n in range(rest // 2 + 1)} | {0}
    others = sorted(near - near_largest - spread)[:: max(1, len(near) * 2 // rest)]
    chosen = [*near_largest, *spread, *others]
    filled = dict.fromkeys([*chosen, *range(most)])
    return sorted(list(filled)[:count])


class Disk:
    """A writer, what it writes undisturbed, and what a case leaves.

    Args:
        writer: The command.
        base: Where its inputs lie.
        session: As ever.
    """

    def __init__(self, writer: Writer, base: Path, session: Session) -> None:
        self.writer, self.base, self.session, self.number = writer, base, session, 0
        place = self.place(old=False)
        ended = run_one(Case("undisturbed", command(*writer.words), place))
        if ended.code:
            raise SystemExit(f"{writer.name} fails on an empty disk: {ended.err}")
        self.contents = {name: (place / "disk" / name).read_bytes() for name in writer.outputs}

    def place(self, old: bool) -> Path:
        """A folder with the inputs and an empty `disk`, or one that holds old outputs."""
        self.number += 1
        place = self.base.parent / f"{self.writer.outputs[0]}-{self.number}"
        place.mkdir()
        for path in self.base.iterdir():
            (place / path.name).symlink_to(path)
        (place / "disk").mkdir()
        if old:
            self.put_old(place)
        return place

    def put_old(self, place: Path) -> None:
        """Old outputs."""
        for name in self.writer.outputs:
            (place / "disk" / name).write_bytes(OLD)

    def case(self, place: Path, name: str, file_bytes: int | None = None) -> Case:
        """The command in that folder."""
        old = any((place / "disk").iterdir())
        more = ["--overwrite"] if old else []
        name = " ".join([self.writer.name, *more, name])
        return Case(name, command(*self.writer.words, *more), place, file_bytes=file_bytes)

    def judge(self, row: Row, case: Case, ended: Ended, old: bool) -> None:
        """Counts what a case left."""
        wrong = ended.broken() or self._left(case.folder / "disk", ended, old)
        if not wrong and ended.code and not ended.refused():
            wrong = f"exit {ended.code} without a line"
        if not wrong and ended.code and not self._names_file_and_reason(ended.last_line):
            wrong = "a line without file and reason"
        if wrong:
            row.fail(wrong, f"{case.name}: exit {ended.code}, {ended.last_line}")
        else:
            row.allowed("one line, the old files whole" if ended.code else "wrote all of it")

    def _names_file_and_reason(self, line: str) -> bool:
        return bool(REASON.search(line)) and any(name in line for name in self.writer.outputs)

    def _left(self, disk: Path, ended: Ended, old: bool) -> str:
        """What is wrong with the files that are there; empty if nothing is."""
        names = {path.name for path in disk.iterdir() if path.suffix != ".lock"}
        if odd := names - set(self.writer.outputs):
            return f"left {'a temporary file' if min(odd).startswith('.') else min(odd)}"
        new = [name for name in names if self.writer.whole(disk / name, self.contents[name])]
        kept = [name for name in names if old and (disk / name).read_bytes() == OLD]
        if torn := names - {*new, *kept}:
            return f"exit {ended.code} with a torn {Path(min(torn)).suffix}"
        if old and len(names) < len(self.writer.outputs):
            return "an old file is lost"
        if not ended.code and len(new) < len(self.writer.outputs):
            return "exit 0 without the output"
        if new and kept and self.writer.words[0] == "synth":
            return "new files beside old ones"
        return ""


def limited(disk: Disk, row: Row) -> None:
    """Runs the command under limits of a file's length, over old files each second time."""
    sizes = [len(content) for content in disk.contents.values()]
    lengths = lengths_of(sizes, disk.session.lengths)

    def cases() -> Iterator[Case]:
        for number, length in enumerate(lengths):
            yield disk.case(disk.place(number % 2 == 1), f"limit {length:,}", length)

    for case, ended in run_all(cases()):
        disk.judge(row, case, ended, old="--overwrite" in case.name)
        shutil.rmtree(case.folder)


def mounted(disk: Disk, row: Row) -> None:
    """Runs the command on file systems that are some pages too small.

    Raises:
        PermissionError: This user may not mount one.
    """
    pages = sum(-(-len(content) // PAGE_SIZE) for content in disk.contents.values())
    sizes = sorted(
        {max(1, round(pages * n / (MOUNTED + 1))) for n in range(1, MOUNTED + 1)}
        | {max(1, pages - 1)}
    )
    for number, size in enumerate(sizes[: max(1, disk.session.lengths // 8)]):
        place, old = disk.place(old=False), number % 2 == 1
        held = len(disk.contents) * old
        with small_disk(place / "disk", 4 * (size + held)):
            if old:
                disk.put_old(place)
            case = disk.case(place, f"{size} of {pages} pages")
            disk.judge(row, case, run_one(case), old)
        shutil.rmtree(place)


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of so many kilobytes at `place`.

    Raises:
        PermissionError: This user may not mount one.
    """
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PermissionError("there is no mount") from error
    if done.returncode:
        raise PermissionError(done.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def try_disks(session: Session) -> Iterator[Row]:
    """Fills the disk of each command that writes."""
    base = session.place("disks/base")
    if (ended := run_one(Case("inputs", partial(lay_out, base), base))).code:
        raise SystemExit(f"the inputs cannot be made: {ended.err}")
    for number, writer in enumerate(session.some(WRITERS)):
        import_all_of(command(*writer.words), _imports(session, base, number))
        disk = Disk(writer, base, session)
        limited(disk, row := Row(f"{writer.name}, a file's length limited"))
        yield row
        row = Row(f"{writer.name}, a full disk (tmpfs)")
        try:
            mounted(disk, row)
        except PermissionError as error:
            row.allowed(f"not tried: {error}")
        yield row
    yield _read_only(session, base)


def _imports(session: Session, base: Path, number: int) -> Path:
    place = session.place(f"disks/imports{number}")
    for path in base.iterdir():
        (place / path.name).symlink_to(path)
    (place / "disk").mkdir()
    return place


def _read_only(session: Session, base: Path) -> Row:
    """Runs every command on a file system that became read-only."""
    row = Row("commands that write, a read-only disk (tmpfs)")
    for number, writer in enumerate(WRITERS):
        place = _imports(session, base, 100 + number)
        try:
            with small_disk(place / "disk", 100):
                subprocess.run(["mount", "-o", "remount,ro", str(place / "disk")], check=True)
                ended = run_one(Case(writer.name, command(*writer.words), place))
        except PermissionError as error:
            row.allowed(f"not tried: {error}")
        else:
            if ended.refused() and not ended.broken():
                row.allowed("one line of error")
            else:
                row.fail(ended.broken() or "no line", f"{writer.name}: {ended.err[-300:]}")
    return row
