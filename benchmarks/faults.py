"""Fault injection: breaks digitsum on purpose and writes what happened into docs/reliability.md.

Usage: python benchmarks/faults.py [--kills 50] [--signals 20] [--files 100000]

The processes and signals are real, and so is the full disk where this user may mount one. The tests
run a few faults of each kind. Nothing here is timed.
"""

from __future__ import annotations

import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from measuring import machine, put, write

from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from digitsum.datasets.arrays import ImageFile, read_labels
from digitsum.datasets.strips import slices
from digitsum.datasets.synthesis import compose
from digitsum.errors import CheckpointError, DataError, DataWarning
from digitsum.files import last_path

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEST = Path("model.pt")
OPTIONS = {"cnn": [], "reader": ["--set", "digits_per_strip=1"], "resnet": ["--weights", "none"]}


@dataclass
class Run:
    """A training process that has ended: its exit code and what it wrote to stderr."""

    code: int
    stderr: str

    @property
    def reported(self) -> int:
        """Number of epochs that it reported as done."""
        return len(re.findall(r"^epoch +\d+ ", self.stderr, re.M))


class Victim:
    """A small training run in a folder of its own, and the same run undisturbed.

    Args:
        arch: Architecture.
        epochs: Length of the run.
        folder: Where strips and runs go.
    """

    def __init__(self, arch: str, epochs: int, folder: Path) -> None:
        self.arch, self.epochs, self.folder = arch, epochs, folder
        made = compose("builtin", strips=40, per_strip=(1, 1), seed=1)
        self.data = folder / "strips"
        self.data.mkdir()
        np.save(self.data / "data0.npy", made.images)
        np.save(self.data / "lab0.npy", made.sums)
        with self.start("whole") as process:
            assert process.stderr is not None
            heard = [time.monotonic() for line in process.stderr if line.startswith("epoch ")]
        assert process.returncode == 0
        self.seconds = heard[-1] - heard[0]  # from the first finished epoch to the last
        self.whole = self.weights("whole")

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        """A process in the folder `name`, which is made if it is not there."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "digitsum", "train", *options]
        if "--resume" not in options:
            command += ["--arch", self.arch, "--epochs", str(self.epochs), *OPTIONS[self.arch]]
            command += ["--data", str(self.data), "--out", str(BEST), "--overwrite"]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [*command, "--device", "cpu"],
            cwd=place, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, name: str, *options: str) -> Run:
        """A process to its end."""
        process = self.start(name, *options)
        _, stderr = process.communicate()
        return Run(process.returncode, stderr)

    def stopped(self, name: str, number: int, share: float) -> Run:
        """A process that gets a signal after a share of the time from its first epoch on."""
        process = self.start(name)
        assert process.stderr is not None
        heard = ""
        for line in process.stderr:
            heard += line
            if line.startswith("epoch "):
                break
        time.sleep(share * self.seconds)
        process.send_signal(number)
        _, rest = process.communicate()
        return Run(process.returncode, heard + rest)

    def weights(self, name: str) -> list[dict[str, torch.Tensor]]:
        """Weights of the best and of the last epoch."""
        paths = (BEST, last_path(BEST))
        return [load_checkpoint(self.folder / name / path).weights for path in paths]

    def survived(self, name: str, run: Run) -> list[str]:
        """Resumes a run that was stopped; gives a list of all that is not as it should be."""
        place, wrong = self.folder / name, []
        if "Traceback" in run.stderr:
            wrong.append("traceback")
        last = place / last_path(BEST)
        if run.reported:
            for path in (place / BEST, last):
                try:
                    kept = len(load_checkpoint(path).history)
                except CheckpointError as error:
                    wrong.append(f"does not load: {error}")
                else:
                    if path == last and kept < run.reported:
                        wrong.append("a reported epoch is lost")
        resumed = self.run(name, *(["--resume", last.name] if last.exists() else []))
        if resumed.code:
            wrong.append(f"does not resume: {resumed.stderr.splitlines()[-1]}")
        else:
            for a, b in zip(self.whole, self.weights(name), strict=True):
                if not all(torch.equal(a[key], b[key]) for key in a):
                    wrong.append("ends in other weights")
        if left := [path.name for path in place.iterdir() if path.name.startswith(".")]:
            wrong.append(f"left {', '.join(left)}")
        shutil.rmtree(place)
        return wrong


def kill(victim: Victim, count: int, rng: np.random.Generator) -> Counter[str]:
    """Sends SIGKILL at random moments."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        run = victim.stopped(f"kill{number}", signal.SIGKILL, rng.random())
        wrong = victim.survived(f"kill{number}", run)
        ended = "" if run.code == -signal.SIGKILL else "had ended before, "
        outcomes["; ".join(wrong) or f"{ended}resumed to the same weights"] += 1
    return outcomes


def stop(victim: Victim, count: int, rng: np.random.Generator) -> Counter[str]:
    """Sends Ctrl-C and SIGTERM at random moments."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        sent, code = [(signal.SIGINT, 130), (signal.SIGTERM, 143)][number % 2]
        run = victim.stopped(f"stop{number}", sent, rng.random())
        wrong = []
        if run.code not in (code, 0):
            wrong.append(f"exit {run.code} for {sent.name}")
        if run.code and not run.stderr.splitlines()[-1].startswith("stopped; resume with: "):
            wrong.append(f"said {run.stderr.splitlines()[-1]!r}")
        wrong += victim.survived(f"stop{number}", run)
        done = "said how to resume" if run.code else "had ended before"
        outcomes["; ".join(wrong) or f"{done}, resumed to the same weights"] += 1
    return outcomes


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of so many kilobytes at `place`.

    Raises:
        PermissionError: This user may not mount one.
    """
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PermissionError("there is no mount") from error
    if done.returncode:
        raise PermissionError(done.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill_disk(victim: Victim, kilobytes: int) -> list[str]:
    """Trains on a disk that is too small; gives all that is not as it should be."""
    place, wrong = victim.folder / "disk", []
    with small_disk(place, kilobytes):
        run = victim.run("disk")
        line = run.stderr.splitlines()[-1]
        if run.code != 1 or not re.match(
            r"error: cannot write \S+: No space left on device$", line
        ):
            wrong.append(f"exit {run.code}, said {line!r}")
        names = {path.name for path in place.iterdir()}
        if odd := names - {BEST.name, last_path(BEST).name}:
            wrong.append(f"left {odd}")
        for name in names:
            load_checkpoint(place / name)
        if run.reported and len(names) < 2:
            wrong.append("a reported epoch is lost")
    return wrong


def refuse_read_only(victim: Victim) -> list[str]:
    """Trains into a file system that became read-only; gives all that is not as it should be."""
    place = victim.folder / "disk"
    with small_disk(place, 100):
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        run = victim.run("disk")
    line = "error: cannot write model.pt: you may not write into ."
    said = run.stderr.splitlines()
    return [] if (run.code, said) == (2, [line]) else [f"exit {run.code}, said {said}"]


def damaged(content: bytes, rng: np.random.Generator, head: int) -> bytes:
    """The content with up to four places changed, most near its start, and perhaps cut short."""
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(head if rng.random() < 0.7 else len(content)))
        put = rng.choice(list(b"'\"(){}[],\\\n\0-019OVUMS<>|fiu# \x80\xff"), rng.integers(0, 4))
        content = content[:place] + bytes(put.tolist()) + content[place + rng.integers(4) :]
    return content[: rng.integers(len(content))] if rng.random() < 0.1 else content


def open_arrays(path: Path) -> str:
    """What comes of a file that may be of strips or of labels."""
    outcome = "refused"
    try:
        for _, strips in slices(ImageFile.open(path)):
            assert strips.dtype == np.uint8
        outcome = "read"
    except DataError:
        pass
    try:
        assert (read_labels(path) >= 0).all()
        outcome = "read"
    except DataError:
        pass
    return outcome


def open_checkpoint(path: Path) -> str:
    """What comes of a file that may be a checkpoint."""
    try:
        load_checkpoint(path)
    except CheckpointError:
        return "refused"
    return "read"


def fuzz(
    sound: list[bytes], count: int, seed: int, read: Callable[[Path], str], head: int
) -> Counter[str]:
    """Opens `count` damaged files; any exception but a refusal comes out."""
    rng, path = np.random.default_rng(seed), Path("fuzzed")
    outcomes: Counter[str] = Counter()
    for number in range(count):
        path.write_bytes(damaged(sound[number % len(sound)], rng, head))
        outcomes[read(path)] += 1
    return outcomes


def sound_arrays() -> list[bytes]:
    """`.npy` files of several types, as bytes."""
    levels = np.arange(2240, dtype=np.uint8).reshape(2, 40, 28)
    arrays = [levels, levels / np.float16(255), np.asfortranarray(levels.astype(">i2"))]
    kept = []
    for array in [*arrays, np.array([3.0, 4.0])]:
        np.save(stream := io.BytesIO(), array)
        kept.append(stream.getvalue())
    return kept


def sound_checkpoint() -> Checkpoint:
    """A checkpoint with little in it."""
    return Checkpoint(
        arch="cnn",
        recipe={"arch": "cnn"},
        weights={"a.weight": torch.ones(3, 2)},
        data={"name": ["builtin"], "count": 5, "width": 84, "fingerprint": "sha256:0"},
        split={"seed": 0, "train": torch.arange(4), "val": torch.tensor([4])},
        history=[{"epoch": 1}],
        metrics={"epoch": 1},
        versions={},
    )


class Pickles:
    """Damages the pickle inside a checkpoint, and packs it so that all checksums are right."""

    def __init__(self) -> None:
        save_checkpoint(sound_checkpoint(), Path("sound.pt"))
        with zipfile.ZipFile("sound.pt") as archive:
            self.entries = {name: archive.read(name) for name in archive.namelist()}
        (self.name,) = (name for name in self.entries if name.endswith("data.pkl"))
        self.pickle = self.entries[self.name]

    def read(self, path: Path) -> str:
        """What comes of a checkpoint with this pickle in it."""
        content = path.read_bytes()
        with zipfile.ZipFile("packed.pt", "w") as archive:
            for name, entry in self.entries.items():
                archive.writestr(name, content if name == self.name else entry)
        return open_checkpoint(Path("packed.pt"))


def peak_megabytes() -> int:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def break_all(
    kills: Annotated[int, typer.Option(help="Runs that get SIGKILL.")] = 50,
    signals: Annotated[int, typer.Option(help="Runs that get Ctrl-C or SIGTERM.")] = 20,
    files: Annotated[int, typer.Option(help="Damaged .npy files.")] = 100_000,
) -> None:
    """Tries all faults."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    rows: list[dict[str, object]] = []

    def tell(fault: str, count: int, outcomes: Counter[str]) -> None:
        what = "; ".join(f"{number:,} {name}" for name, number in outcomes.items())
        rows.append({"fault": fault, "tried": count, "what happened": what})
        print(f"{fault}: {count:,}: {what}", flush=True)

    with TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, arch, epochs in (("cnn", "cnn", 40), ("reader", "reader", 24)):
            Path(name).mkdir()
            victim = Victim(arch, epochs, Path(name).resolve())
            rng = np.random.default_rng(0)
            outcomes = kill(victim, kills // 2, rng)
            tell(f"`train --arch {arch}` killed (SIGKILL) at a random moment", kills // 2, outcomes)
            outcomes = stop(victim, signals // 2, rng)
            tell(f"`train --arch {arch}`, Ctrl-C or SIGTERM", signals // 2, outcomes)
            if arch == "cnn":
                sizes = (200, 800, 1500, 2700, 3400, 4000)
                try:
                    found = ["; ".join(fill_disk(victim, size)) for size in sizes]
                    found += ["; ".join(refuse_read_only(victim))]
                except PermissionError as error:
                    found = [f"not tried: {error}"]
                outcomes = Counter(
                    wrong or "one line of error, the old files whole" for wrong in found
                )
                tell("a full disk (tmpfs of 0.2 to 4 MB) and a read-only one", len(found), outcomes)
        before = peak_megabytes()
        outcomes = fuzz(sound_arrays(), files, 0, open_arrays, head=128)
        tell("damaged `.npy` files of strips and labels", files, outcomes)
        save_checkpoint(sound_checkpoint(), Path("plain.pt"))
        plain = Path("plain.pt").read_bytes()
        some = files // 20
        outcomes = fuzz([plain], some, 1, open_checkpoint, head=len(plain))
        tell("damaged checkpoints", some, outcomes)
        pickles = Pickles()
        outcomes = fuzz([pickles.pickle], some, 2, pickles.read, head=len(pickles.pickle))
        tell("checkpoints with a damaged pickle and right checksums", some, outcomes)
        grown = peak_megabytes() - before
        print(f"peak memory grew by {grown} MB over all damaged files")
        os.chdir("/")
    write("faults", {"rows": rows, "memory_grown_mb": grown})
    table = "\n".join(f"| {r['fault']} | {r['tried']:,} | {r['what happened']} |" for r in rows)
    put(
        PAGE,
        "faults",
        f"| fault | tried | what happened |\n|---|---|---|\n{table}\n\n"
        f"Peak memory grew by {grown} MB over all damaged files. On {machine()['processor']}, "
        f"torch {torch.__version__}.",
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore", DataWarning)  # damaged pixels are odd ones
    typer.run(break_all)
