"""Steps that a GPU replays, tried on a CPU: the same bits as steps that run as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from conftest import build
from torch import Tensor, nn

from digitsum.datasets.synthesis import compose
from digitsum.device import WARM_UP, Call, DeviceConfig, Replayed, one_thread
from digitsum.models import reader, resolve_options
from digitsum.models.sum_likelihood import log_likelihood
from digitsum.recipe import Recipe
from digitsum.training.distributed import World
from digitsum.training.state import TrainState

CPU = DeviceConfig(torch.device("cpu"), "fp32")


class Recorder:
    """Records as `cuda_graph` does: replays read the inputs and fill the tensors of the first.

    A CPU computes while it records, so the first replay has nothing left to do.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.replays = 0

    def __call__(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        result, with_gradient = function(), torch.is_grad_enabled()
        gradients = [parameter.grad for parameter in self.parameters]

        @torch.no_grad()
        def replay() -> None:
            self.replays += 1
            if self.replays == 1:
                return
            with torch.set_grad_enabled(with_gradient):
                again = function()
            result.copy_(again)
            for gradient, parameter in zip(gradients, self.parameters, strict=True):
                assert gradient is not None
                assert parameter.grad is not None
                gradient.copy_(parameter.grad)

        return replay, result


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Makes a CPU replay what a GPU would; gives what records there."""
    made: list[Recorder] = []

    def replayed(
        self: DeviceConfig, function: Call, parameters: Iterable[nn.Parameter] = ()
    ) -> Call:
        held = list(parameters)
        made.append(Recorder(held))
        return Replayed(function, self.device, held, made[-1])

    monkeypatch.setattr(DeviceConfig, "replayed", replayed)
    return made


def steps(arch: str, **keys: object) -> tuple[list[float], dict[str, Tensor], dict[str, Tensor]]:
    """Losses of some steps, one of them on fewer strips, and the weights after them."""
    recipe = resolve_options(Recipe(arch, epochs=1, batch_size=4, **keys))
    strips = compose("builtin", 40, seed=0)
    pixels, sums = torch.from_numpy(strips.images), torch.from_numpy(strips.sums).float()
    torch.manual_seed(0)
    model = build(arch, 168, recipe.options)
    state = TrainState(model, recipe, 9, CPU, World())
    losses, at = [], 0
    for number, size in enumerate([4, 4, 4, 4, 4, 3, 4, 4, 4]):
        rows = slice(at, at + size)
        losses.append(float(state.step(pixels[rows], sums[rows], number / 9)))
        at += size
    return losses, state.weights(), model.state_dict()


@pytest.mark.parametrize(
    ("arch", "keys"),
    [
        ("cnn", {}),
        ("reader", {"guide": 0.5}),  # which ends on the way
        ("reader", {"guide": 0.0, "optimizer": "adamw"}),
        ("cnn", {"optimizer": "muon", "schedule": "one_cycle", "warp": 1.0, "ema_decay": 0.9}),
        pytest.param("resnet", {"weights": "none"}, marks=pytest.mark.slow),
    ],
)
def test_replayed_steps_give_the_same_bits(
    arch: str,
    keys: dict[str, object],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the reader's in float64 rounds otherwise; it is tested by itself
    monkeypatch.setattr(reader, "wide_log_likelihood", log_likelihood)
    losses, weights, trained = steps(arch, **keys)
    recorders: list[Recorder] = request.getfixturevalue("recorders")
    replayed_losses, replayed_weights, replayed = steps(arch, **keys)
    assert [each.replays for each in recorders if each.replays]
    assert max(each.replays for each in recorders) >= 5
    assert replayed_losses == losses
    assert all(torch.equal(replayed_weights[name], weights[name]) for name in weights)
    assert all(torch.equal(replayed[name], trained[name]) for name in trained)


def test_a_reader_that_does_not_know_the_count_is_not_replayed(recorders: list[Recorder]) -> None:
    steps("reader", digits_per_strip=None, optimizer="adamw")
    assert not recorders


def test_what_is_recorded_first_stays_recorded() -> None:
    seen: list[tuple[int, ...]] = []

    def double(x: Tensor, number: Tensor | float) -> Tensor:
        seen.append(tuple(x.shape))
        return 2 * x + number

    recorder = Recorder([])
    replayed = Replayed(double, torch.device("cpu"), [], recorder)
    inputs = [torch.full((2,), float(n)) for n in range(WARM_UP + 3)]
    for n, x in enumerate(inputs):
        assert replayed(x, float(n)).tolist() == [3.0 * n] * 2  # numbers may change
    assert recorder.replays == 3
    assert replayed(torch.ones(3), 0.5).tolist() == [2.5] * 3  # as it is
    assert replayed(torch.ones(2), 0.5).tolist() == [2.5] * 2
    assert recorder.replays == 4
    assert seen[-2] == (3,)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("arch", "threads"), [("reader", 1), ("resnet", 2)])
def test_optimizers_of_small_nets_step_in_one_thread(
    arch: str, threads: int, two_threads: None
) -> None:
    recipe = resolve_options(Recipe(arch=arch, weights="none", device="cpu", precision="fp32"))
    state = TrainState(build(arch, 168, recipe.options), recipe, 9, CPU, World())
    seen: list[int] = []
    for optimizer in state.optimizers:
        optimizer.register_step_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    state.step(torch.zeros(2, 40, 168, dtype=torch.uint8), torch.tensor([3.0, 4.0]), 0.0)
    assert seen == [threads] * len(state.optimizers)
    assert torch.get_num_threads() == 2


def test_threads_are_back_after_an_error(two_threads: None) -> None:
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_cpu_replays_nothing() -> None:
    assert CPU.replayed(torch.sin) is torch.sin
    assert CPU.batch < DeviceConfig(torch.device("cuda"), "bf16").batch


def test_training_gives_back_how_convolutions_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (False, True):
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", before)
        with CPU.repeatable():
            assert torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.deterministic is before


def test_generators_are_seeded_as_torch_seeds_them_and_given_back() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(9)
    after = torch.rand(2)
    torch.manual_seed(9)

    def fails() -> None:
        with CPU.random_state_kept():
            CPU.seed(3)
            assert torch.equal(torch.rand(2), expected)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert torch.equal(torch.rand(2), after)
