"""Forged `.last.pt` files, resumed: optimizer state and all else that a run rests on."""

from __future__ import annotations

import copy
import itertools
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fault_children import Case, Ended, import_all_of, run_all, run_batched
from fault_rows import Row, Session
from torch import Tensor

from digitsum import training
from digitsum.datasets import open_data
from digitsum.datasets.synthesis import compose
from digitsum.errors import CheckpointError, DigitsumError, TrainingError
from digitsum.recipe import Recipe
from digitsum.training.events import EpochRecord

SECONDS = 60  # of computing
MEGABYTES = 1000  # that a run of such small batches may take
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer", "step")  # tensors of an optimizer's state
ROOTS = [
    *["optimizer"] * 10, *["schedule"] * 3, "unaveraged", "random", "best", "history", "split",
    "metrics", "recipe", "data", "weights", "versions",
]  # fmt: skip


class StopError(Exception):
    """Ends a run after its first epoch."""


@dataclass(frozen=True)
class Kind:
    """A run that is forged."""

    arch: str
    optimizer: str
    ema_decay: float
    schedule: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.arch}-{self.optimizer}-{self.ema_decay}-{self.schedule}"

    @property
    def recipe(self) -> Recipe:
        """Three epochs of sixteen strips."""
        more = {"digits_per_strip": 1} if self.arch == "reader" else {}
        keys = {"optimizer": self.optimizer, "ema_decay": self.ema_decay, "schedule": self.schedule}
        tiny = {"epochs": 3, "batch_size": 8, "device": "cpu", "precision": "fp32"}
        return Recipe(self.arch, **keys, **tiny, **more)


KINDS = [
    Kind(*chosen)
    for chosen in itertools.product(
        ("cnn", "reader"), ("adam", "adamw", "muon"), (0.0, 0.9), ("constant", "one_cycle")
    )
]


def begin(kind: Kind) -> None:
    """Leaves `s/` and the two checkpoints of a run that stopped after its first epoch."""
    made = compose("builtin", 20, (1, 1), seed=5)
    Path("s").mkdir()
    np.save("s/data0.npy", made.images)
    np.save("s/lab0.npy", made.sums)

    def stop(event: object) -> None:
        if isinstance(event, EpochRecord):
            raise StopError

    with suppress(StopError):
        training.train(open_data("s"), kind.recipe, out="u.pt", on_event=stop)


# what is changed


def other_tensor(tensor: Tensor, rng: random.Random) -> Any:
    """A tensor of another shape, dtype, layout or content."""
    kinds: list[Any] = [  # of callables
        lambda: torch.zeros(1),
        lambda: torch.zeros(0),
        lambda: torch.zeros(()),
        lambda: tensor.flatten(),
        lambda: tensor.flatten()[:-1],
        lambda: tensor.flatten()[:1],
        lambda: tensor.unsqueeze(0),
        lambda: tensor.transpose(0, -1),
        lambda: torch.cat([tensor.flatten(), tensor.flatten()]),
        lambda: torch.zeros([n + 1 for n in tensor.shape]),
        lambda: torch.zeros(()).expand(tensor.shape),
        lambda: torch.zeros(()).expand(10**6),
        lambda: torch.zeros([*tensor.shape, 2])[..., 0],
        lambda: tensor.flip(0),
        lambda: tensor.T.contiguous().T if tensor.ndim == 2 else tensor.flip(-1),
        lambda: torch.zeros([2 * n for n in tensor.shape])[
            tuple(slice(0, n) for n in tensor.shape)
        ],
        lambda: tensor.to_sparse(),
        lambda: tensor.flatten(1).to_sparse_csr(),
        lambda: tensor.to("meta"),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        lambda: torch.nn.Parameter(tensor.float()),
        lambda: torch.nested.nested_tensor([tensor]),
        lambda: torch.complex(tensor.float(), tensor.float()).conj(),
        lambda: torch.full_like(tensor, rng.choice([-1, 2**31, 0])),
        lambda: torch.full_like(
            tensor.float(), rng.choice([float("nan"), float("inf"), -1e30, 3e38])
        ),
    ]
    dtypes = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8]
    dtypes += [torch.bool, torch.complex64, torch.float8_e4m3fn]
    kinds += [lambda dtype=dtype: tensor.to(dtype) for dtype in dtypes]
    return rng.choice(kinds)()


def other_value(rng: random.Random) -> Any:
    """A value of any kind."""
    nest: Any = []
    for _ in range(200):
        nest = rng.choice([[nest], {"x": nest}, (nest,)])
    text: list[Any] = ["", "x", "nan", "../../x", "\x1b]0;x\x07", "x" * 10_000, "cuda", "adam"]
    numbers: list[Any] = [
        -1,
        0,
        1,
        2,
        7,
        2**31,
        2**63,
        10**400,
        -(10**30),
        0.5,
        -0.5,
        1e-320,
        1e308,
        float("nan"),
        float("inf"),
    ]
    others: list[Any] = [
        None,
        True,
        False,
        [],
        {},
        (),
        [[]],
        {"x": 1},
        [1] * 1000,
        nest,
        b"x",
        1j,
        torch.zeros(3),
        torch.zeros(()),
        torch.ones(2, 2).bool(),
    ]
    return rng.choice(rng.choice([text, numbers, others]))


def holders(value: Any) -> Iterator[Any]:
    """All dicts and lists inside, itself included."""
    if isinstance(value, dict | list):
        yield value
        for inner in list(value.values()) if isinstance(value, dict) else value:
            yield from holders(inner)


def forge_once(content: dict[str, Any], rng: random.Random) -> None:
    """Changes one thing somewhere in a checkpoint."""
    root = rng.choice([root for root in ROOTS if root in content])
    inside = [holder for holder in holders(content[root]) if holder]
    holder: Any = rng.choice(inside) if inside and rng.random() > 0.03 else content
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = root if holder is content else rng.choice(keys)
    value, how = holder[key], rng.random()
    if isinstance(value, Tensor) and how < 0.75:
        holder[key] = other_tensor(value, rng)
    elif how < 0.65:
        holder[key] = other_value(rng)
    elif how < 0.75:
        del holder[key]
    elif how < 0.85:  # a value of its own kind from elsewhere
        holder[key] = copy.deepcopy(holder[rng.choice(keys)])
    elif isinstance(holder, list):
        changes: list[Any] = [holder.reverse, holder.clear, partial(holder.append, value)]
        rng.choice([*changes, partial(holder.insert, 0, value)])()
    else:
        odd = rng.choice([-1, 10**6, "0", 1.5, "x", None, True, 2**70])
        holder[odd] = holder[key]
        if rng.random() < 0.5:
            del holder[key]


def forged(sound: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A checkpoint with one or several changes; a run that it asks for stays a short one."""
    content = copy.deepcopy(sound)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        with suppress(RuntimeError, TypeError, NotImplementedError, IndexError, KeyError):
            forge_once(content, rng)  # not every tensor has every other form
    recipe = content.get("recipe")
    for key, most in (("epochs", 9), ("batch_size", 99)):
        if isinstance(recipe, dict) and isinstance(recipe.get(key), int) and recipe[key] > most:
            recipe[key] = most
    return content


def misfit(content: dict[str, Any], sound: dict[str, Any]) -> str:
    """Which tensor of the optimizers' state has not the form that it had; empty if all have."""
    found = dict(moments(content.get("optimizer")))
    for where, tensor in moments(sound["optimizer"]):
        if _form(found.get(where, tensor)) != _form(tensor):
            return f"{'.'.join(map(str, where))}: {_form(found[where])}"
    return ""


def moments(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The tensors of an optimizer's state, by where they stand."""
    if path and path[-1] in MOMENTS:
        yield path, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from moments(inner, (*path, key))


def _form(value: Any) -> tuple[Any, ...]:
    """Type and shape; a view has those of a whole tensor, and may be copied into one."""
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided:
        return (type(value).__name__,)
    return tuple(value.shape), value.dtype, value.is_meta


@dataclass(frozen=True)
class Resuming:
    """Forges the checkpoint of a run in this folder and resumes it: the child's work."""

    seed: int

    def __call__(self) -> None:
        rng = random.Random(self.seed)
        sound = torch.load("u.last.pt", weights_only=True)
        content = forged(sound, rng)
        with suppress(RuntimeError, NotImplementedError, TypeError):  # some cannot be stored
            torch.save(content, "forged.pt")
            shutil.move("forged.pt", "u.last.pt")
        wrong = misfit(content, sound)
        del content, sound
        try:
            training.resume("u.last.pt", open_data("s") if rng.random() < 0.8 else None)
        except CheckpointError:
            print("refused as damaged")
        except TrainingError:
            print("stopped: the loss is not finite")
        except DigitsumError:
            print("refused for another reason")
        else:
            print(f"trained with state of another form\n{wrong}" if wrong else _trained())


def _trained() -> str:
    for name in ("u.pt", "u.last.pt"):
        weights = torch.load(name, weights_only=True)["weights"]
        if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            return "trained to weights that are not finite"
    return "trained"


ALLOWED = {
    "refused as damaged",
    "refused for another reason",
    "stopped: the loss is not finite",
    "trained",
}


def try_states(session: Session) -> Iterator[Row]:
    """Resumes forged runs of every kind."""
    folder = session.place("states")
    kinds = list(session.some(KINDS))
    import_all_of(partial(begin, kinds[-1]), session.place("imports"))
    begun = (Case(k.name, partial(begin, k), session.place(f"states/{k.name}")) for k in kinds)
    for case, ended in run_all(begun):
        if ended.code:
            raise SystemExit(f"{case.name} does not train: {ended.err}")
    for arch in ("cnn", "reader"):
        row = Row(f"`train --resume` of a forged `.last.pt`, {arch}")
        cases = _cases(session, folder, [kind for kind in kinds if kind.arch == arch])
        for case, ended in run_batched(cases, MEGABYTES):
            _judge(row, case, ended)
            shutil.rmtree(case.folder, ignore_errors=True)
        yield row


def _cases(session: Session, folder: Path, kinds: list[Kind]) -> Iterator[Case]:
    for seed in range(session.states // 2):
        kind = kinds[seed % len(kinds)]
        place = folder / f"{kind.arch}{seed}"
        shutil.copytree(folder / kind.name, place)
        yield Case(f"{kind.name}, seed {seed}", Resuming(seed), place, SECONDS)


def _judge(row: Row, case: Case, ended: Ended) -> None:
    said = ended.out.splitlines()
    if broken := ended.broken():
        row.fail(broken, f"{case.name}: {ended.last_line}")
    elif ended.megabytes > MEGABYTES:
        row.fail("took too much memory", f"{case.name}: {ended.megabytes:.0f} MB")
    elif said and said[0] in ALLOWED:
        row.allowed(said[0])
    else:
        row.fail(said[0] if said else "said nothing", f"{case.name}: {' '.join(said[1:])}")
