"""Several processes train as one does: real ones, over gloo on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build, fit

from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.strips import StripSet
from digitsum.device import DeviceConfig
from digitsum.errors import UsageError
from digitsum.files import last_path
from digitsum.recipe import Recipe
from digitsum.training.data import TrainingData, batches
from digitsum.training.distributed import World
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
keys = {"arch": "cnn", "epochs": 1, "batch_size": 9, "dropout": 0.0, "device": "cpu",
        "precision": "fp32"}
run = Trainer(Recipe.from_dict(keys), open_data(["strips"]), Path("none.pt"), print)
state, world = run.state, run.world
state.optimizers[0].step = lambda: None
state.model.train()
own = world.shard(torch.arange(9))
state.step(run.data.pixels[own], run.data.sums[own], 0.0, len(own) * world.size / 9)
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


def test_gradients_are_those_of_one_process_that_adds_up_the_shares(folder: StripSet) -> None:
    Path("gradients.py").write_text(GRADIENTS)
    done = torchrun("gradients.py")
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    model = DeviceConfig.resolve("cpu", "fp32").place(build("cnn", folder.width, {"dropout": 0.0}))
    model.train()
    batch = torch.arange(9)
    for rank in range(2):
        own = World(rank, 2).shard(batch)
        strips = torch.from_numpy(folder.images()[own.numpy()]).unsqueeze(1).float() / 255
        loss = model.loss(model(strips), torch.from_numpy(folder.sums)[own].float(), 0.0)
        (loss * len(own) / 9).backward()
    for rank in range(2):
        found = torch.load(f"rank{rank}.pt", weights_only=True)
        named = dict(model.named_parameters())
        ours, theirs = (
            torch.cat([gradient.flatten() for gradient in gradients])
            for gradients in ([found[n] for n in named], [p.grad for p in named.values()])
        )
        # convolutions add up in another order with another number of threads
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()


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
