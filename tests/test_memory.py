"""Memory that runs out is one line, whichever library says so, and costs no file."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from digitsum.errors import CheckpointError, DataError, is_out_of_memory

SAID = [  # by libraries, of kinds that a test cannot bring about everywhere
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                 "allocate memory: you tried to allocate 4000 bytes. Error code 12"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."),
    RuntimeError("std::bad_alloc"), RuntimeError("could not create a memory object"),
    RuntimeError("could not create a primitive"),
    RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("Invalid buffer size: 12.3 GiB"), RuntimeError("can't start new thread"),
    RuntimeError("Resource temporarily unavailable"), torch.OutOfMemoryError("CUDA out of memory."),
    ImportError("libx.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError(),
]  # fmt: skip


@pytest.mark.parametrize("error", SAID, ids=str)
def test_every_way_to_say_so_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    told = CheckpointError("a.pt cannot be read: it is damaged")
    told.__cause__ = error
    assert is_out_of_memory(told)


def test_what_is_too_large_for_any_memory_is_told() -> None:
    for ask in (
        lambda: torch.empty(10**15), lambda: torch.zeros(2**40, 2**40), lambda: np.empty(10**15),
        lambda: np.empty((2**40, 2**40)), lambda: np.empty(2**64), lambda: bytearray(10**15),
    ):  # fmt: skip
        with pytest.raises((MemoryError, RuntimeError, ValueError)) as caught:
            ask()
        assert is_out_of_memory(caught.value), caught.value


def test_other_failures_are_not_taken_for_it() -> None:
    others = ("a bug", "could not create a primitive descriptor for the convolution")
    for error in (*map(RuntimeError, others), DataError("out of memory.npy does not exist"), None):
        assert not is_out_of_memory(error)


LIMITED = """
import resource, sys
# what has its own say about memory while it is loaded
import sklearn.model_selection, scipy.stats, torch._dynamo
import digitsum.cli.display, digitsum.evaluation.comparison, digitsum.training.trainer
from digitsum.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv = ["digitsum", *sys.argv[2:]]
main()
"""


@pytest.fixture
def wide() -> None:
    """Few strips that are wide, and many that are not."""
    strips = np.zeros((4, 40, 9000), np.uint8)
    strips[:, 10:30, 30::90] = 255
    many = np.zeros((1000, 40, 168), np.uint8)
    many[:, 10:30, 30::40] = 255
    for name, images in (("wide", strips), ("many", many)):
        Path(name).mkdir()
        np.save(f"{name}/data0.npy", images)
        np.save(f"{name}/lab0.npy", np.arange(len(images)) % 9)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc as on Linux")
@pytest.mark.parametrize(
    ("megabytes", "command", "advice"),
    [
        (100, "train --arch cnn --batch-size 30000 --data many --device cpu", "--batch-size"),
        (60, "eval reader --data wide --device cpu", "narrower strips"),
        (60, "predict wide/data0.npy --out r.csv --device cpu", "narrower strips"),
        (60, "predict wide/data0.npy --out r.csv --device cpu --precision int8", "narrower"),
        (60, "compare reader reader --data wide --device cpu", "fewer models"),
        (60, "report reader --data wide --device cpu", "fewer models"),
        (60, "synth big --strips 99999999", "--strips"),
        (3, "eval reader --data wide --device cpu", "close other programs"),
    ],
)
def test_a_command_says_what_to_do(wide: None, megabytes: int, command: str, advice: str) -> None:
    before = {path.name for path in Path().iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(megabytes), *command.split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: out of memory: "), done.stderr
    assert advice in last
    assert "Traceback" not in done.stderr
    after = {path.name for path in Path().iterdir() if path.is_file()}
    assert after <= before
