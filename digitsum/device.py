"""Where tensors live and in which precision convolutions run. The only place that chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digitsum.errors import UsageError

CPU_BATCH = 64  # strips in a forward pass without gradient: more take memory and are no faster
GPU_BATCH = 512  # a GPU computes them in the time that it takes to launch the kernels for a few
WARM_UP = 3  # calls before a function is recorded: the first ones allocate and choose kernels

Call = Callable[..., Tensor]


@dataclass(frozen=True)
class DeviceConfig:
    """A resolved device and precision."""

    device: torch.device
    precision: str  # fp32, bf16, or for inference int8

    @classmethod
    def resolve(
        cls, device: str = "auto", precision: str = "auto", inference: bool = False
    ) -> DeviceConfig:
        """Turns `auto` into what this machine does best.

        Args:
            device: auto, cpu, cuda, cuda:N or mps. auto: a GPU if there is one.
            precision: auto, fp32 or bf16, and for inference int8. auto takes bf16 where the
                processor or GPU computes in it; elsewhere bf16 is emulated and slower than fp32.
            inference: Whether the model will only predict.

        Raises:
            UsageError: The device is unknown or absent, or the precision is unknown.
        """
        found = _device(device)
        allowed = ("auto", "fp32", "bf16", *(["int8"] if inference else []))
        if precision not in allowed:
            raise UsageError(f"--precision {precision}: choose from {', '.join(allowed)}")
        if precision == "int8" and found.type != "cpu":
            raise UsageError(f"--precision int8 is for the CPU, not {found}: give bf16 or fp32")
        if precision == "auto":
            precision = "bf16" if _computes_in_bf16(found) else "fp32"
        return cls(found, precision)

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}"

    def autocast(self) -> AbstractContextManager[None]:
        """Runs convolutions in bf16 where that was chosen; otherwise does nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, model: nn.Module) -> nn.Module:
        """Moves a model here, its convolutions in channels-last order (faster in bf16)."""
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """CuDNN's convolutions give the same sums in every run; in float32 they need not."""
        before = torch.backends.cudnn.deterministic
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = before

    @property
    def batch(self) -> int:
        """Strips in a forward pass that needs no gradient."""
        return CPU_BATCH if self.device.type == "cpu" else GPU_BATCH

    def replayed(self, function: Call, parameters: Iterable[nn.Parameter] = ()) -> Call:
        """The function, on a CUDA device recorded once and replayed; see `Replayed`."""
        if self.device.type != "cuda":
            return function
        return Replayed(function, self.device, list(parameters))

    def random_state(self) -> dict[str, Tensor]:
        """State of the generators that order, dropout and augmentation draw from."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Sets these generators; those of a device that is not this one stay as they are."""
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in state:
            torch.mps.set_rng_state(state["mps"])

    def seed(self, seed: int) -> None:
        """Seeds these generators, and those of no other device."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    @contextmanager
    def random_state_kept(self) -> Iterator[None]:
        """Sets these generators at the end to what they were, whatever was drawn inside."""
        before = self.random_state()
        try:
            yield
        finally:
            self.set_random_state(before)

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W) -> float32 (B, 1, H, W) in 0..1 on this device."""
        return pixels.to(self.device, non_blocking=True).unsqueeze(1).float() / 255


@contextmanager
def one_thread() -> Iterator[None]:
    """Many small operations inside do not share their work on the CPU.

    A thread that sleeps takes longer to wake than such an operation takes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


def cuda_graph(function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Records the kernels that a function launches; gives what launches them again, and its result.

    Nothing is computed before the first replay, which fills the result.
    """
    torch.cuda.empty_cache()  # a graph has memory of its own
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph.replay, result


class Replayed:
    """A function of tensors whose kernels are launched all at once.

    Python launches kernels one by one, and slower than a GPU computes those of a small model. The
    first calls run as they are; then one is recorded, and later ones replay it. So the function
    must launch the same kernels whatever the values, and wait for none. Inputs of other shapes
    than the recorded ones run as they are.

    Args:
        function: Takes tensors and gives one, which the next call may overwrite.
        device: Where the tensors lie. Numbers among the inputs become 0-dim float64 tensors there.
        parameters: Those whose gradients the function leaves, if it leaves any.
        record: Records a call; `cuda_graph`, but for tests.
    """

    def __init__(
        self,
        function: Call,
        device: torch.device,
        parameters: list[nn.Parameter],
        record: Record = cuda_graph,
    ) -> None:
        self.function, self.device, self.parameters = function, device, parameters
        self.record = record
        self.inputs: list[Tensor] = []  # that the recorded kernels read
        self.calls = 0
        self.aside: torch.cuda.Stream | None = None

    def __call__(self, *given: Tensor | float) -> Tensor:
        shapes = [torch.Size() if isinstance(x, float) else x.shape for x in given]
        if shapes != [x.shape for x in self.inputs]:
            if self.calls >= WARM_UP:  # recorded: it stays so
                return self.function(*map(self._tensor, given))
            self.inputs = [self._tensor(x).clone() for x in given]
            self.calls = 0
        for x, new in zip(self.inputs, given, strict=True):
            x.fill_(new) if isinstance(new, float) else x.copy_(new)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._aside()
        if self.calls == WARM_UP + 1:
            for parameter in self.parameters:
                parameter.grad = None  # so that the recorded call makes its own
            self.replay, self.result = self.record(lambda: self.function(*self.inputs))
            self.gradients = [parameter.grad for parameter in self.parameters]
        self.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.result

    def _tensor(self, x: Tensor | float) -> Tensor:
        if isinstance(x, Tensor):
            return x
        return torch.tensor(x, dtype=torch.float64, device=self.device)

    def _aside(self) -> Tensor:
        """A call on a stream of its own, as recording wants those before it."""
        if self.device.type != "cuda":
            return self.function(*self.inputs)
        here = torch.cuda.current_stream(self.device)
        self.aside = self.aside or torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.aside.wait_stream(here)
        with torch.cuda.stream(self.aside):
            result = self.function(*self.inputs)
        here.wait_stream(self.aside)
        return result


def _device(name: str) -> torch.device:
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    match = re.fullmatch(r"(cpu|mps|cuda)|cuda:([0-9]{1,3})", name)
    if not match:
        raise UsageError(f"--device {name}: choose from auto, cpu, cuda, cuda:N, mps")
    if name.startswith("cuda") and int(match[2] or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices that "
            "torch can use; choose auto or cpu"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: torch sees no Apple GPU here; choose auto or cpu")
    return torch.device(name)


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_computes_in_bf16()


def _cpu_computes_in_bf16() -> bool:
    """Whether convolutions are faster in bf16 than in fp32.

    They are with AMX, and on AMD's processors with AVX512-BF16 (4 times). On an Intel Xeon whose
    AMX is not there, oneDNN's run at half the rate of fp32 (92 against 177 GMAC/s, 64 to 64
    channels, 3x3).
    """
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
        by_intel = "intel" in str(has.get("cpu_name", "")).lower()
        return bool(has.get("amx_bf16") or (has.get("avx512_bf16") and not by_intel))
    # younger than the oldest torch that is admitted, which does not tell whose processor it is
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in asked if hasattr(torch.cpu, name))
