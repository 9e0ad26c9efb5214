"""Many writers of one name: at the same time, watched by readers, and killed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fault_children import Case, Child, Ended, command, import_all_of, run_all, run_one
from fault_disks import ADAPT, SET, lay_out
from fault_rows import Row, Session
from PIL import Image

from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.picture_folders import names_of_pictures

TOGETHER = 4  # seconds after which all writers of a round begin: all are there by then
READERS = 2
INPUTS = 4  # different outputs, so that it shows whose is there
KILLED = 32


@dataclass(frozen=True)
class Kind:
    """A command that writes `disk/…`; its n-th variant writes another content than the others.

    Attributes:
        words: With `{n}` for the number of the variant.
        outputs: What it writes, in the folder `disk`.
        torn: What is wrong with the files in a folder that ought to be of one writer; empty if
            nothing is.
    """

    words: str
    outputs: tuple[str, ...]
    torn: Callable[[Path, list[dict[str, bytes]]], str]

    @property
    def name(self) -> str:
        """In a table."""
        return f"`{self.words.split()[0]}` to {Path(self.outputs[0]).suffix}"

    def work(self, number: int, *more: str, begin: float = 0) -> Callable[[], object]:
        """The command, which waits until the others are there too."""
        run = command(*self.words.format(n=number % INPUTS).split(), *more)

        def wait_and_run() -> object:
            time.sleep(max(0.0, begin - time.time()))
            return run()

        return wait_and_run


def _of_one(disk: Path, wanted: list[dict[str, bytes]]) -> str:
    found = {path.name: path.read_bytes() for path in disk.iterdir() if path.name in wanted[0]}
    return "" if found in wanted else "files that are of no writer, or of several"


def _checkpoints(disk: Path, wanted: list[dict[str, bytes]]) -> str:
    last, best = (load_checkpoint(disk / name) for name in ("m.last.pt", "m.pt"))
    return "" if last.history == best.history else "checkpoints of two runs"


def _checkpoint(disk: Path, wanted: list[dict[str, bytes]]) -> str:
    return "" if load_checkpoint(disk / "a.pt") else "no checkpoint"


KINDS = (
    Kind("predict s{n}.npy --model c.pt --device cpu --out disk/r.csv", ("r.csv",), _of_one),
    Kind("predict s{n}.npy --model c.pt --device cpu --out disk/r.npy", ("r.npy",), _of_one),
    Kind("synth disk --strips 300 --files 2 --per-strip 1 --seed {n}", tuple(SET.split()), _of_one),
    Kind(
        "train --arch cnn --epochs 1 --device cpu --data s --seed {n} --out disk/m.pt",
        ("m.pt", "m.last.pt"),
        _checkpoints,
    ),
    Kind("predict p{n}.png --model c.pt --device cpu --annotate disk/r.png", ("r.png",), _of_one),
    Kind(
        "synth disk --strips 300 --per-strip 1 --pictures --seed {n}",
        tuple(names_of_pictures(300)),
        _of_one,
    ),
    Kind(f"{ADAPT} --seed {{n}} --out disk/a.pt", ("a.pt",), _checkpoint),
)


class Crowd:
    """A command in a folder, and what its variants write undisturbed."""

    def __init__(self, kind: Kind, base: Path, session: Session) -> None:
        self.kind, self.base, self.session, self.number = kind, base, session, 0
        self.wanted = []
        import_all_of(kind.work(0), self.place())
        for number in range(INPUTS):
            place = self.place()
            ended = run_one(Case("undisturbed", kind.work(number), place))
            if ended.code:
                raise SystemExit(f"{kind.name} fails undisturbed: {ended.err}")
            self.wanted.append(
                {name: (place / "disk" / name).read_bytes() for name in kind.outputs}
            )

    def place(self) -> Path:
        """A folder with the inputs and an empty `disk`."""
        self.number += 1
        place = self.session.place(f"writers/{Path(self.kind.outputs[0]).name}{self.number}")
        for path in self.base.iterdir():
            (place / path.name).symlink_to(path)
        (place / "disk").mkdir()
        return place

    def look(self, folder: Path, until: float) -> Callable[[], None]:
        """The work of a reader: whatever it opens is whole."""
        known = [set(found.values()) for found in self.wanted]

        def look() -> None:
            while time.time() < until and not (folder / "over").exists():
                for name in self.kind.outputs:
                    try:
                        content = (folder / "disk" / name).read_bytes()
                    except FileNotFoundError:
                        continue
                    if name.endswith(".pt"):
                        load_checkpoint(folder / "disk" / name)
                    elif not any(content in whole for whole in known):
                        raise SystemExit(f"a reader saw a torn {name}")
                time.sleep(0.01)

        return look

    def together(self, row: Row, overwrite: bool) -> None:
        """All writers at once."""
        place, count = self.place(), self.session.writers
        begin = time.time() + TOGETHER
        more = ["--overwrite"] if overwrite else []
        cases = [
            Case("a reader", self.look(place, begin + 100), place, 300) for _ in range(READERS)
        ]
        cases += [
            Case(f"writer {n}", self.kind.work(n, *more, begin=begin), place, 300)
            for n in range(count)
        ]
        done, left = [], count
        for case, ended in run_all(cases, at_once=len(cases)):
            if case.name == "a reader":
                if ended.code:
                    row.fail("a reader saw a torn file", ended.last_line)
                continue
            left -= 1
            if not left:
                (place / "over").touch()
            self._count(row, case, ended)
            done += [case.name] * (ended.code == 0)
        wrong = self._wrong(place / "disk") if done else "none of the writers succeeded"
        if not overwrite and len(done) > 1:
            wrong = f"several writers succeeded without --overwrite ({len(done)})"
        if wrong:
            row.fail(wrong.partition(" (")[0], f"{self.kind.name}: {wrong}")
        shutil.rmtree(place)

    def _count(self, row: Row, case: Case, ended: Ended) -> None:
        if broken := ended.broken():
            row.fail(broken, f"{self.kind.name}, {case.name}: {ended.last_line}")
        elif ended.code == 0:
            row.allowed("wrote")
        elif ended.refused():
            row.allowed("one line of error")
        else:
            row.fail(f"exit {ended.code} without a line", f"{case.name}: {ended.err[-300:]}")

    def _wrong(self, disk: Path) -> str:
        """What is wrong with the files at the end; empty if nothing is."""
        names = {path.name for path in disk.iterdir() if path.suffix != ".lock"}
        if odd := names - set(self.kind.outputs):
            return f"temporary files are left ({len(odd)})"
        if names < set(self.kind.outputs):
            return "an output is missing"
        return self.kind.torn(disk, self.wanted)

    def kill(self, row: Row, count: int) -> None:
        """Kills writers one after the other, half of them as soon as a temporary file is there."""
        rng, seconds = random.Random(0), self._seconds()
        place = self.place()
        for number in range(count):
            child = Child(Case(f"killed {number}", self.kind.work(number, "--overwrite"), place))
            moment = time.time() + rng.uniform(0.2, 1.1) * seconds
            while not (ended := child.poll()) and time.time() < moment + seconds:
                hidden = any(
                    path.name[0] == "." and path.suffix != ".lock"
                    for path in (place / "disk").iterdir()
                )
                if time.time() > moment or (number % 2 and hidden):
                    child.kill()
                    break
                time.sleep(0.0005)
            while not ended:
                ended = child.poll()
            self._judge_killed(row, place / "disk", ended, number)
        self._clear(row, place)
        shutil.rmtree(place)

    def _judge_killed(self, row: Row, disk: Path, ended: Ended, number: int) -> None:
        name = f"{self.kind.name}, killed {number}"
        found = {
            path.name: path.read_bytes()
            for path in disk.iterdir()
            if path.name in self.kind.outputs
        }
        torn = [each for each, content in found.items() if not self._whole(disk / each, content)]
        if ended.code != -signal.SIGKILL and ended.code:
            row.fail(ended.broken() or f"exit {ended.code}", f"{name}: {ended.last_line}")
        elif torn:
            row.fail("a torn file", f"{name}: {torn}")
        else:
            row.allowed("killed, every file whole" if ended.code else "had ended before")

    def _whole(self, path: Path, content: bytes) -> bool:
        if path.suffix == ".pt":
            return bool(load_checkpoint(path))
        return any(found[path.name] == content for found in self.wanted)

    def _clear(self, row: Row, place: Path) -> None:
        ended = run_one(Case("the next", self.kind.work(0, "--overwrite"), place))
        wrong = ended.last_line if ended.code else self._wrong(place / "disk")
        if wrong:
            row.fail("the next run: " + wrong.partition(" (")[0], f"{self.kind.name}: {wrong}")
        else:
            row.allowed("the next run left nothing else")

    def _seconds(self) -> float:
        begun = time.time()
        run_one(Case("timed", self.kind.work(0), self.place()))
        return time.time() - begun


def try_writers(session: Session) -> Iterator[Row]:
    """Lets many write one name, and kills many."""
    base = session.place("writers/base")
    if (ended := run_one(Case("inputs", partial(_lay_out, base), base))).code:
        raise SystemExit(f"the inputs cannot be made: {ended.err}")
    for kind in session.some(KINDS):
        crowd = Crowd(kind, base, session)
        for overwrite in (False, True):
            words = "with --overwrite" if overwrite else "without --overwrite"
            row = Row(f"{session.writers} writers at once, {kind.name} {words}")
            crowd.together(row, overwrite)
            yield row
        crowd.kill(
            row := Row(f"{kind.name} killed (SIGKILL) while it writes"),
            KILLED * session.writers // 64,
        )
        yield row


def _lay_out(base: Path) -> None:
    lay_out(base)
    images = np.load(base / "s.npy")
    for number in range(INPUTS):
        np.save(base / f"s{number}.npy", np.roll(images, number, axis=0))
        Image.fromarray(images[number]).save(base / f"p{number}.png")
