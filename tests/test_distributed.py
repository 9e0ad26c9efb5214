"""Several processes train as one does: real ones, over gloo on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build, fit

from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.datasets.strips import StripSet
from digitsum.device import DeviceConfig
from digitsum.errors import UsageError
from digitsum.recipe import Recipe
from digitsum.training.data import TrainingData, batches
from digitsum.training.distributed import LAUNCHED, World, _compare
from digitsum.training.resuming import StoppedRun, restore_run
from digitsum.training.trainer import Trainer

pytestmark = pytest.mark.slow  # each starts processes

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

GRADIENTS = """
from pathlib import Path
import torch
from digitsum.datasets import open_data
from digitsum.recipe import Recipe
from digitsum.training.trainer import Trainer
keys = {"epochs": 1, "batch_size": 9, "device": "cpu", "precision": "fp32", **OPTIONS}
run = Trainer(Recipe.from_dict(keys), open_data(["strips"]), Path("none.pt"), print)
state, world = run.state, run.world
state.optimizers[0].step = lambda: None
state.model.train()
own = world.shard(torch.arange(9))
counts = None if run.data.counts is None else run.data.counts[own]
state.step(run.data.pixels[own], run.data.sums[own], 0.0, len(own) * world.size / 9, counts)
torch.save({n: p.grad for n, p in state.model.named_parameters()}, f"rank{world.rank}.pt")
"""


def torchrun(*command: str, seconds: int = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, *command], capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture
def folder(strips: StripSet) -> StripSet:
    """The strips as files, which all processes open."""
    Path("strips").mkdir()
    np.save("strips/data0.npy", strips.images())
    np.save("strips/lab0.npy", strips.sums)
    return strips


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [7, 8, 64])
def test_shards_of_a_batch_make_the_whole(count: int, size: int) -> None:
    rows = torch.randperm(count)
    shards = [World(rank, size).shard(rows) for rank in range(size)]
    assert torch.equal(torch.cat(shards).sort().values, torch.arange(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_no_process_is_left_with_a_single_strip() -> None:
    sizes = [len(part) for part in batches(torch.arange(67), 32, least=4)]
    assert sizes == [32, 35]


def test_a_batch_too_small_to_share_is_refused(strips: StripSet) -> None:
    recipe = Recipe.from_dict({"arch": "cnn", "batch_size": 6})
    with pytest.raises(UsageError, match="--batch-size 6 is too small for 4 processes: give 8"):
        TrainingData(strips, recipe, torch.device("cpu"), World(0, 4))


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")  # alone it says nothing
    assert World.from_environment() == World(0, 1)


OTHERS = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MASTER_PORT", "abc"), ("MASTER_PORT", "0"), ("MASTER_PORT", "99999"),
        ("WORLD_SIZE", "0"), ("WORLD_SIZE", "-1"), ("WORLD_SIZE", "9" * 5000),
        ("RANK", "2"), ("RANK", "x"), ("RANK", "1" * 5000), ("LOCAL_RANK", "x"),
    ],
)  # fmt: skip
def test_a_launcher_that_says_nonsense_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, said in {**OTHERS, name: value}.items():
        monkeypatch.setenv(variable, said)
    with pytest.raises(UsageError, match=f"^{name}={value} in the environment"):
        World.from_environment()
    assert set(OTHERS) == set(LAUNCHED)


def test_the_command_that_started_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert World().command() == "digitsum"
    assert World(3, 4).command() == "torchrun --nproc-per-node 4 -m digitsum"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert World(3, 8).command() == "torchrun --nnodes 4 --nproc-per-node 2 -m digitsum"


def test_what_differs_is_named_with_its_process() -> None:
    _compare([{"arch": "cnn", "epochs": 2}] * 3)
    with pytest.raises(UsageError, match="epochs is 3 in process 1 and 2 in process 0"):
        _compare([{"epochs": 2}, {"epochs": 3}])
    with pytest.raises(UsageError, match="beta is 1 in process 2 and None in process 0"):
        _compare([{"epochs": 2}, {"epochs": 2}, {"epochs": 2, "beta": 1}])


def alone(**environment: str) -> subprocess.CompletedProcess[str]:
    """One of two processes, of which the other never comes."""
    command = [sys.executable, "-m", "digitsum", "train", "--arch", "cnn", "--data", "strips"]
    env = {**os.environ, **OTHERS, **environment}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env=env
    )


def test_processes_that_cannot_meet_say_why_in_one_line(folder: StripSet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = alone(MASTER_PORT=str(port))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: process 0: port {port} is taken (")
    done = alone(MASTER_ADDR="nowhere.invalid")
    assert done.returncode == 2, done.stderr
    assert "error: process 0: there is no machine nowhere.invalid (" in done.stderr
    assert "Traceback" not in done.stderr


EACH_ITS_OWN = """
import os, sys
from digitsum.cli import main
own = sys.argv[1 + int(os.environ["RANK"])]
sys.argv = ["digitsum", "train", "--device", "cpu", "--epochs", "2", *own.split()]
main()
"""


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("--arch cnn --data strips", "--arch cnn --data others", "fingerprint of the strips is"),
        ("--arch cnn --data strips", "--arch reader --data strips", "arch is reader in process 1"),
        ("--arch cnn --data strips", "--arch cnn --data strips --epochs 3", "epochs is 3 in"),
    ],
)
def test_processes_that_differ_all_say_so_and_end(
    folder: StripSet, first: str, second: str, said: str
) -> None:
    Path("others").mkdir()  # as many, of the same width
    np.save("others/data0.npy", folder.images()[::-1])
    np.save("others/lab0.npy", folder.sums[::-1])
    Path("each.py").write_text(EACH_ITS_OWN)
    done = torchrun("each.py", first, second)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told, done.stderr  # torchrun ends one of them when the other has said it
    assert all(f": the processes differ: {said}" in line for line in told), told
    assert not list(Path().glob("*.pt"))


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes as Unix has them")
def test_ctrl_c_says_how_to_resume_with_as_many(folder: StripSet) -> None:
    command = ["train", "--arch", "cnn", "--epochs", "5000", "--data", "strips", "--device", "cpu"]
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "digitsum", *command],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not Path("cnn.last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    stderr = process.communicate(timeout=120)[1]
    said = "stopped; resume with: torchrun --nproc-per-node 2 -m digitsum train --resume "
    assert stderr.count(f"{said}cnn.last.pt\n") == 1, stderr


@pytest.mark.parametrize("arch", ["cnn", "reader"])
def test_gradients_are_those_of_one_process_that_adds_up_the_shares(
    folder: StripSet, arch: str
) -> None:
    options: dict[str, object] = {"dropout": 0.0}
    counts = None
    if arch == "reader":  # each strip with a count of its own
        counts, options = torch.arange(len(folder)) % 4 + 2, {"digits_per_strip": None}
        np.save("strips/count0.npy", counts.numpy())
    given = {"arch": arch, **options, **({"warp": 0.0} if counts is not None else {})}
    Path("gradients.py").write_text(GRADIENTS.replace("OPTIONS", repr(given)))
    done = torchrun("gradients.py")
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    model = DeviceConfig.resolve("cpu", "fp32").place(build(arch, folder.width, options))
    model.train()
    batch = torch.arange(9)
    for rank in range(2):
        own = World(rank, 2).shard(batch)
        strips = torch.from_numpy(folder.images()[own.numpy()]).unsqueeze(1).float() / 255
        sums = torch.from_numpy(folder.sums)[own].float()
        known = None if counts is None else counts[own]
        loss = model.loss_of(model(strips), sums, 0.0, known)
        (loss * len(own) / 9).backward()
    for rank in range(2):
        found = torch.load(f"rank{rank}.pt", weights_only=True)
        named = dict(model.named_parameters())
        ours, theirs = (
            torch.cat([gradient.flatten() for gradient in gradients])
            for gradients in ([found[n] for n in named], [p.grad for p in named.values()])
        )
        # convolutions add up in another order with another number of threads, which the deeper
        # reader amplifies; wrong counts are off by twice as much
        assert (ours - theirs).norm() < (1e-3 if arch == "cnn" else 3e-2) * theirs.norm()


def test_a_run_of_two_learns_as_one_does_and_goes_on_with_two(folder: StripSet) -> None:
    keys = ["--batch-size", "8", "--set", "dropout=0", "--set", "ema_decay=0.9"]
    command = ["train", "--arch", "cnn", "--epochs", "3", "--data", "strips", *keys]
    done = torchrun("-m", "digitsum", *command, "--out", "two.pt")
    assert done.returncode == 0, done.stderr
    assert "in 2 processes" in done.stderr
    assert done.stderr.count("epoch   1 ") == 1  # one of them prints
    assert done.stdout.count("best") == 2
    recipe = {"arch": "cnn", "epochs": 3, "batch_size": 8, "dropout": 0.0, "ema_decay": 0.9}
    one = fit(Recipe.from_dict(recipe), folder, "one.pt")
    two = load_checkpoint(last_path(Path("two.pt")))
    assert two.metrics["val"]["count"] == one.best.val.count
    assert two.metrics["train"]["count"] == one.best.train.count
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs.train_loss, rel=0.1)
    assert sorted(two.random) == [0, 1]

    resumed = torchrun("-m", "digitsum", "train", "--resume", "two.last.pt")
    assert "nothing is left to do" in resumed.stderr
    stopped = StoppedRun.open(last_path(Path("two.pt")), {}, None)
    alone = Trainer(stopped.recipe, folder, stopped.path, print, pretrained=False)
    with pytest.raises(UsageError, match="of 2 processes and this is of 1"):
        restore_run(alone, stopped.checkpoint)


def test_an_error_in_one_process_ends_all_with_its_message(folder: StripSet) -> None:
    Path("one_fails.py").write_text(
        "import os, sys\n"
        "from digitsum.cli import main\n"
        "data = 'strips' if os.environ['RANK'] == '0' else 'absent'\n"
        "sys.argv = ['digitsum', 'train', '--arch', 'cnn', '--epochs', '500', '--data', data]\n"
        "main()\n"
    )
    done = torchrun("one_fails.py", seconds=120)
    assert done.returncode != 0
    assert "error: process 1: absent does not exist" in done.stderr
    assert "RuntimeError" not in done.stderr
