"""Training runs that are killed or stopped at random moments, and resumed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fault_children import AT_ONCE
from fault_rows import Row, Session

from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.datasets.synthesis import compose
from digitsum.errors import CheckpointError

BEST = Path("model.pt")
OPTIONS = {"cnn": [], "reader": ["--set", "digits_per_strip=1"], "resnet": ["--weights", "none"]}
EPOCHS = {"cnn": 40, "reader": 24}


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
        if left := [
            path.name for path in place.iterdir() if path.name[0] == "." and path.suffix != ".lock"
        ]:
            wrong.append(f"left {', '.join(left)}")
        shutil.rmtree(place)
        return wrong


def kill(victim: Victim, row: Row, number: int, share: float) -> None:
    """Sends SIGKILL after a share of the run."""
    run = victim.stopped(f"kill{number}", signal.SIGKILL, share)
    ended = "" if run.code == -signal.SIGKILL else "had ended before, "
    _count(victim, row, f"kill{number}", run, [], f"{ended}resumed to the same weights")


def stop(victim: Victim, row: Row, number: int, share: float) -> None:
    """Sends Ctrl-C or SIGTERM after a share of the run."""
    sent, code = [(signal.SIGINT, 130), (signal.SIGTERM, 143)][number % 2]
    run = victim.stopped(f"stop{number}", sent, share)
    wrong = []
    if run.code not in (code, 0):
        wrong.append(f"exit {run.code} for {sent.name}")
    if run.code and not run.stderr.splitlines()[-1].startswith("stopped; resume with: "):
        wrong.append(f"said {run.stderr.splitlines()[-1]!r}")
    done = "said how to resume" if run.code else "had ended before"
    _count(victim, row, f"stop{number}", run, wrong, f"{done}, resumed to the same weights")


def _count(victim: Victim, row: Row, name: str, run: Run, wrong: list[str], outcome: str) -> None:
    if wrong := wrong + victim.survived(name, run):
        row.fail("; ".join(wrong), name)
    else:
        row.allowed(outcome)


def try_runs(session: Session) -> Iterator[Row]:
    """Kills and stops runs of two architectures, two at a time."""
    rng = np.random.default_rng(0)
    for arch, epochs in EPOCHS.items():
        victim = Victim(arch, epochs, session.place(f"runs-{arch}"))
        killed = Row(f"`train --arch {arch}` killed (SIGKILL) at a random moment")
        yield _tried(killed, partial(kill, victim), session.kills // 2, rng)
        stopped = Row(f"`train --arch {arch}`, Ctrl-C or SIGTERM")
        yield _tried(stopped, partial(stop, victim), session.signals // 2, rng)


def _tried(
    row: Row, run: Callable[[Row, int, float], None], count: int, rng: np.random.Generator
) -> Row:
    with ThreadPoolExecutor(AT_ONCE) as pool:  # which wait for processes
        done = [pool.submit(run, row, number, rng.random()) for number in range(count)]
        for each in done:
            each.result()
    return row
