"""Killed, stopped, out of room, crowded: a few of what benchmarks/faults.py does many times."""

from __future__ import annotations

import functools
import importlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fit

from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.strips import StripSet
from digitsum.errors import CheckpointError, UsageError
from digitsum.files import run_lock, uninterrupted, whole_file
from digitsum.recipe import Recipe
from digitsum.signals import STOPPING

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def _harness(name: str) -> Any:
    """A module of the harness."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def faults() -> Any:
    """The part that damages files."""
    return _harness("fault_files")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A short training, and the folder to run it in."""
    return _harness("fault_runs").Victim("cnn", 30, tmp_path_factory.mktemp("victim"))


A_FEW = {
    "checkpoints": "--every 150",
    "bombs": "--every 20",
    "states": "--every 6 --states 12",
    "disks": "--every 3 --lengths 6",
    "paths": "--every 42",
    "writers": "--every 3 --writers 4",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory and devices as Linux has them")
@pytest.mark.parametrize("part", A_FEW)
def test_a_few_faults_of_each_kind_end_as_they_should(part: str) -> None:
    script = BENCHMARKS / "faults.py"  # in a process of its own, which may be forked
    words = [sys.executable, script, "--part", part, *A_FEW[part].split(), "--out", "faults.json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    rows = json.loads(Path("faults.json").read_text())["parts"][part]["rows"]
    assert sum(row["tried"] for row in rows) > 5


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_killed_run_goes_on_to_the_same_weights(victim: Any, share: float) -> None:
    run = victim.stopped("killed", signal.SIGKILL, share)
    assert run.code == -signal.SIGKILL
    assert run.reported
    assert victim.survived("killed", run) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_stopped_run_says_how_to_resume(victim: Any, number: int, code: int) -> None:
    run = victim.stopped("stopped", number, 0.3)
    assert run.code == code, run.stderr
    how = "stopped; resume with: digitsum train --resume model.last.pt"
    assert run.stderr.splitlines()[-1] == how
    assert victim.survived("stopped", run) == []


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_tears_nothing(victim: Any) -> None:
    process = victim.start("twice")
    heard = ""
    for line in process.stderr:
        heard += line
        if line.startswith("epoch "):
            break
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in heard + rest
    for name in ("model.pt", "model.last.pt"):
        load_checkpoint(victim.folder / "twice" / name)
    assert victim.run("twice", "--resume", "model.last.pt").code == 0
    assert not [path.name for path in (victim.folder / "twice").iterdir() if path.name[0] == "."]


@pytest.mark.slow
def test_a_second_run_of_one_name_is_refused(strips: StripSet) -> None:
    recipe = Recipe.from_dict({"arch": "cnn", "epochs": 1, "device": "cpu"})
    with run_lock(Path("cnn.pt")):
        with pytest.raises(
            UsageError, match=r"another run is writing cnn\.pt: choose another name"
        ):
            fit(recipe, strips, Path("cnn.pt"))
        fit(recipe, strips, Path("other.pt"))
    assert not Path("cnn.pt").exists()
    fit(recipe, strips, Path("cnn.pt"))
    assert sorted(p.name for p in Path().iterdir()) == [
        "cnn.last.pt", "cnn.pt", "other.last.pt", "other.pt",
    ]  # fmt: skip


def _hold(path: Path, ready: Any) -> None:
    with run_lock(path):
        ready.set()
        signal.pause()


@pytest.mark.slow
def test_the_lock_of_a_killed_run_is_no_hindrance() -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(Path("cnn.pt").resolve(), ready))
    process.start()
    assert ready.wait(60)
    with pytest.raises(UsageError, match="another run"), run_lock(Path("cnn.pt")):
        pass
    process.kill()
    process.join()
    for name in (".cnn.pt.77.tmp", ".cnn.last.pt.77.tmp", ".other.pt.77.tmp"):
        Path(name).touch()
    with run_lock(Path("cnn.pt")):
        assert sorted(p.name for p in Path().iterdir()) == [".cnn.pt.lock", ".other.pt.77.tmp"]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_waits_until_a_file_is_whole(number: int) -> None:
    class Arrived(BaseException):
        pass

    def arrive(number: int, frame: object) -> None:
        raise Arrived

    def write() -> None:
        with uninterrupted(), whole_file(Path("out")) as stream:
            os.kill(os.getpid(), number)
            stream.write(b"whole")

    before = signal.signal(number, arrive)
    try:
        with pytest.raises(Arrived):
            write()
        assert Path("out").read_bytes() == b"whole"
        assert signal.getsignal(number) is arrive
    finally:
        signal.signal(number, before)


def rewritten(
    path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED
) -> None:
    """A checkpoint's archive with some of its entries changed, all checksums right."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


class Claim:
    """Pickles as one tensor of any size and stride over 40 bytes, however many it claims."""

    def __init__(self, claimed: int, size: int, stride: int) -> None:
        self.claimed, self.size, self.stride = claimed, size, stride

    def pickled(self) -> bytes:
        class Storage:
            pass

        class Pickler(pickle.Pickler):
            def persistent_id(pickler, value: object) -> object:  # noqa: N805
                known = ("storage", torch.FloatStorage, "0", "cpu", self.claimed)
                return known if isinstance(value, Storage) else None

        class Forged:
            def __reduce__(forged) -> Any:  # noqa: N805
                rebuild = torch._utils._rebuild_tensor_v2
                return rebuild, (Storage(), 0, (self.size,), (self.stride,), False, {})

        Pickler(stream := io.BytesIO(), protocol=2).dump({"format": 1, "weights": Forged()})
        return stream.getvalue()


@pytest.mark.parametrize(
    "claim",
    [Claim(10**10, 10**10, 1), Claim(10, 10**10, 1), Claim(10, 10**12, 0), Claim(-5, 2, 1)],
    ids=["storage", "view", "expanded", "negative"],
)
def test_a_forged_header_allocates_nothing(claim: Claim) -> None:
    path = Path("forged.pt")
    torch.save({"x": torch.zeros(10)}, path)

    def forge(entries: dict[str, bytes]) -> None:
        (name,) = (name for name in entries if name.endswith("data.pkl"))
        entries[name] = claim.pickled()

    rewritten(path, forge)
    with pytest.raises(CheckpointError, match=r"forged\.pt (cannot be read|claims to hold)"):
        load_checkpoint(path)


def test_a_compressed_file_is_not_unpacked() -> None:
    path = Path("bomb.pt")
    torch.save({"format": 1, "x": torch.zeros(10**6)}, path)
    rewritten(path, lambda entries: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"claims to hold 4,0\d\d,\d\d\d bytes in a file of"):
        load_checkpoint(path)


@pytest.mark.parametrize("held", [bytearray(9), {1, 2}, 1j, torch.float32])
def test_what_is_neither_tensor_nor_plain_is_refused(held: object) -> None:
    torch.save({"format": 1, "x": [held]}, Path("odd.pt"))
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        load_checkpoint(Path("odd.pt"))


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *given: Any) -> None:
        self.call = function, given

    def __reduce__(self) -> Any:
        return self.call


PAYLOADS = {
    "os": Call(os.mkdir, "executed"),
    "eval": Call(eval, "__import__('os').mkdir('executed')"),
    "exec": Call(exec, "import os; os.mkdir('executed')"),
    "process": Call(subprocess.check_call, ["mkdir", "executed"]),
    "class": Call(Path.touch, Path("executed")),
    "torch": Call(torch.save, {}, "executed"),
    "numpy": Call(np.save, "executed", 1),
    "map": Call(functools.partial(os.mkdir, "executed")),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_pickles_of_every_kind_are_never_run(name: str) -> None:
    torch.save({"format": 1, "x": PAYLOADS[name]}, Path("evil.pt"))
    Path("plain.pkl").write_bytes(pickle.dumps(PAYLOADS[name], protocol=2))
    for path in (Path("evil.pt"), Path("plain.pkl")):
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    there = {path.name for path in Path().iterdir()}
    assert there == {"evil.pt", "plain.pkl"}
    pickle.loads(Path("plain.pkl").read_bytes())  # and would have left a mark
    assert {path.name for path in Path().iterdir()} > there


def test_what_holds_itself_many_times_over_is_refused() -> None:
    laughs: list[Any] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    torch.save({"format": 1, "x": laughs}, Path("laughs.pt"))
    with pytest.raises(CheckpointError, match="its values are too many"):
        load_checkpoint(Path("laughs.pt"))


@pytest.mark.slow
def test_damaged_checkpoints_are_read_or_refused(faults: ModuleType) -> None:
    pickles = faults.Pickles()
    outcomes = faults.fuzz([pickles.pickle], 400, 3, pickles.read, head=len(pickles.pickle))
    assert outcomes["refused"] > 300
    content = Path("sound.pt").read_bytes()
    outcomes = faults.fuzz([content], 200, 4, faults.open_checkpoint, head=len(content))
    assert outcomes["refused"] > 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::digitsum.errors.DataWarning")  # they are as odd as damaged
def test_damaged_arrays_are_read_or_refused(faults: ModuleType) -> None:
    outcomes = faults.fuzz(faults.sound_arrays(), 3000, 5, faults.open_arrays, head=128)
    assert outcomes["refused"] > 1000
    assert outcomes["read"] > 100
