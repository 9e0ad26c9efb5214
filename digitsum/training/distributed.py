"""Training over several processes, as torchrun starts them; one process alone is a world of one.

Every process (rank) holds all strips and the same weights, and takes its shard of each batch;
gradients are averaged over all. Only rank 0, the main process, prints and writes.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from digitsum.coercion import whole_number
from digitsum.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
MEETING = timedelta(minutes=2)  # that the processes wait for one another at the start


@dataclass(frozen=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls) -> World:
        """What the launcher says; alone if there is none. Loads no torch.

        Raises:
            UsageError: It says nonsense.
        """
        if not all(name in os.environ for name in LAUNCHED):
            return cls()
        size = _launched("WORLD_SIZE", 1)
        rank = _launched("RANK", 0, size - 1)
        _launched("MASTER_PORT", 1, 65535)
        _launched("LOCAL_RANK", 0, size - 1, default=rank)
        return cls(rank, size)

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The GPU of this process on its machine, where a GPU is asked for without a number."""
        import torch

        if self.size > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{_launched('LOCAL_RANK', 0, self.size - 1, default=self.rank)}"
        return name

    def command(self) -> str:
        """How `digitsum` is started in as many processes."""
        if self.size == 1:
            return "digitsum"
        each = _launched("LOCAL_WORLD_SIZE", 1, self.size, default=self.size)
        nodes = f"--nnodes {self.size // each} " if each < self.size else ""
        return f"torchrun {nodes}--nproc-per-node {each} -m digitsum"

    def join(self, device: torch.device) -> None:
        """Meets the others: over NCCL on GPUs, else over gloo. Once a process.

        Raises:
            UsageError: They cannot meet, or do not in time.
        """
        import torch
        from torch import distributed
        from torch.distributed.rendezvous import rendezvous

        if self.size == 1 or distributed.is_initialized():
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        try:
            socket.getaddrinfo(address, int(port))  # torch would try again and again
            store, rank, size = next(rendezvous("env://", timeout=MEETING))
            self._compare_devices(store, device.type)
            backend = "nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
            here = [device.index] if device.type == "cuda" else None
            distributed.barrier(device_ids=here)  # NCCL connects no earlier
        except UsageError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(_why_apart(error, address, port)) from error

    def _compare_devices(self, store: Any, kind: str) -> None:
        """Before there is a process group: one on a GPU and one on a CPU cannot make any."""
        store.set(f"device/{self.rank}", kind)
        kinds = [store.get(f"device/{rank}").decode() for rank in range(self.size)]
        _compare([{"device": kind} for kind in kinds])

    def compare(self, facts: Mapping[str, object]) -> None:
        """Sees that all processes are of one mind. All take part; what is sent is short.

        Raises:
            UsageError: One is not. All raise it.
        """
        _compare(self.gather(dict(facts)))

    def shard(self, rows: Tensor) -> Tensor:
        """This process's shard of some rows; the shards of all make the whole, in any order."""
        return rows[self.rank :: self.size]

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model, its weights made rank 0's and its gradients those of all processes.

        Raises:
            UsageError: The weights are of other shapes there.
        """
        from torch.nn.parallel import DistributedDataParallel

        if self.size == 1:
            return model
        shapes = str([(name, x.shape, x.dtype) for name, x in model.state_dict().items()])
        self.compare({"architecture": hashlib.sha256(shapes.encode()).hexdigest()})
        return DistributedDataParallel(model)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Rank 0's tensor on all; theirs have the same shape and are overwritten."""
        from torch import distributed

        if self.size > 1:
            distributed.broadcast(tensor, 0)
        return tensor

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on all."""
        from torch import distributed

        if self.size == 1:
            return make()
        held = [make() if self.is_main else None]
        distributed.broadcast_object_list(held, 0)
        return held[0]  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, on all."""
        from torch import distributed

        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]


def _launched(name: str, least: int, most: int = 10**6, default: int | None = None) -> int:
    """A number that the launcher says.

    Raises:
        UsageError: It is none, or too large or small.
    """
    text = os.environ.get(name, "" if default is None else str(default))
    number = whole_number(text)
    if number is None or not least <= number <= most:
        raise UsageError(
            f"{name}={text} in the environment is not that of a process that torchrun started, "
            f"which is in {least}..{most}: unset it, or start with torchrun"
        )
    return number


def _compare(facts: list[dict[str, object]]) -> None:
    """Raises UsageError if the facts, by rank, are not the same everywhere."""
    for rank, own in enumerate(facts):
        for name in {**facts[0], **own}:
            if (theirs := own.get(name)) != (ours := facts[0].get(name)):
                raise UsageError(
                    f"the processes differ: {name} is {theirs} in process {rank} and {ours} in "
                    "process 0; start all of them with the same command, files and versions"
                )


def _why_apart(error: Exception, address: str, port: str) -> str:
    """Why the processes do not meet, in words."""
    where = f"MASTER_ADDR={address}, MASTER_PORT={port}"
    if "EADDRINUSE" in str(error):
        return f"port {port} is taken ({where}): give torchrun --standalone or a free --master-port"
    if isinstance(error, OSError | UnicodeError):
        return f"there is no machine {address} ({where}): correct the address"
    minutes = MEETING.seconds // 60
    return (
        f"the processes did not meet within {minutes} minutes ({where}): see what the others say, "
        "and start all of them, with an address that all can reach"
    )


def is_lost_peer(error: Exception) -> bool:
    """Whether this is what a process meets when another one has ended."""
    from torch import distributed

    named = isinstance(error, distributed.DistError)
    return named or (isinstance(error, RuntimeError) and "gloo" in str(error))
