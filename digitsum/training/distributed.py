"""Training over several processes, as torchrun starts them; one process alone is a world of one.

Every process (rank) holds all strips and the same weights, and takes its shard of each batch;
gradients are averaged over all. Only rank 0, the main process, prints and writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from digitsum.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


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
        rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise UsageError(
                f"RANK={rank} and WORLD_SIZE={size} in the environment are not those of a process "
                "that torchrun started: unset them, or start with torchrun"
            )
        return cls(int(rank), int(size))

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The GPU of this process on its machine, where a GPU is asked for without a number."""
        import torch

        if self.size > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"
        return name

    def join(self, device: torch.device) -> None:
        """Meets the others: over NCCL on GPUs, else over gloo. Once a process."""
        import torch
        from torch import distributed

        if self.size == 1 or distributed.is_initialized():
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def shard(self, rows: Tensor) -> Tensor:
        """This process's shard of some rows; the shards of all make the whole, in any order."""
        return rows[self.rank :: self.size]

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model, its weights made rank 0's and its gradients those of all processes."""
        from torch.nn.parallel import DistributedDataParallel

        return model if self.size == 1 else DistributedDataParallel(model)

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


def is_lost_peer(error: Exception) -> bool:
    """Whether this is what a process meets when another one has ended."""
    from torch import distributed

    named = isinstance(error, distributed.DistError)
    return named or (isinstance(error, RuntimeError) and "gloo" in str(error))
