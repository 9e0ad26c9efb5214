"""Damaged files: bytes of arrays and checkpoints changed at random."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fault_children import Case, run_all, run_one
from fault_rows import Row, Session

from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from digitsum.datasets.arrays import ImageFile, read_labels
from digitsum.datasets.strips import slices
from digitsum.errors import CheckpointError, DataError, DataWarning

BATCHES = 8  # children that share the files of a kind


def damaged(content: bytes, rng: np.random.Generator, head: int) -> bytes:
    """The content with up to four places changed, most near its start, and perhaps cut short."""
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(head if rng.random() < 0.7 else len(content)))
        new = rng.choice(list(b"'\"(){}[],\\\n\0-019OVUMS<>|fiu# \x80\xff"), rng.integers(0, 4))
        content = content[:place] + bytes(new.tolist()) + content[place + rng.integers(4) :]
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
    arrays: list[Any] = [levels, levels / np.float16(255), np.asfortranarray(levels.astype(">i2"))]
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


def fuzz_arrays(count: int, seed: int) -> Counter[str]:
    """Damaged strips and labels."""
    return fuzz(sound_arrays(), count, seed, open_arrays, head=128)


def fuzz_checkpoints(count: int, seed: int) -> Counter[str]:
    """Damaged checkpoints."""
    save_checkpoint(sound_checkpoint(), Path("plain.pt"))
    plain = Path("plain.pt").read_bytes()
    return fuzz([plain], count, seed, open_checkpoint, head=len(plain))


def fuzz_pickles(count: int, seed: int) -> Counter[str]:
    """Checkpoints that are damaged under their checksums."""
    pickles = Pickles()
    return fuzz([pickles.pickle], count, seed, pickles.read, head=len(pickles.pickle))


@dataclass(frozen=True)
class Batch:
    """Damaged files that one child opens."""

    run: Callable[[int, int], Counter[str]]
    count: int
    seed: int

    def __call__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # damaged pixels are odd ones
            print(json.dumps(self.run(self.count, self.seed)))


def try_files(session: Session) -> Iterator[Row]:
    """Opens damaged files of three kinds."""
    kinds = (
        ("damaged `.npy` files of strips and labels", fuzz_arrays, session.files),
        ("damaged checkpoints", fuzz_checkpoints, session.files // 20),
        (
            "checkpoints with a damaged pickle and right checksums",
            fuzz_pickles,
            session.files // 20,
        ),
    )
    for fault, run, count in kinds:
        row, each = Row(fault), max(1, count // BATCHES)
        make = partial(_case, session, run)
        baseline = run_one(make(1, 0)).megabytes
        for case, ended in run_all(make(each, seed + 1) for seed in range(BATCHES)):
            if ended.code:
                row.fail(ended.broken() or f"exit {ended.code}", f"{case.name}: {ended.last_line}")
            elif row.measure(case, ended, baseline):
                row.outcomes.update(json.loads(ended.out))
        yield row


def _case(session: Session, run: Callable[[int, int], Counter[str]], count: int, seed: int) -> Case:
    name = f"{run.__name__} {seed}"
    return Case(name, Batch(run, count, seed), session.place(name.replace(" ", "-")), seconds=900)
