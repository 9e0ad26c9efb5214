from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from digitsum.checkpoint import (
    FORMAT,
    Checkpoint,
    card,
    load_checkpoint,
    save_checkpoint,
)
from digitsum.cli import info, writers
from digitsum.errors import CheckpointError

FILE = Path("model.pt")
STATE = {"optimizer", "schedule", "random", "best", "unaveraged"}


class Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def made(**changes: Any) -> Checkpoint:
    content: dict[str, Any] = {
        "arch": "cnn",
        "recipe": {"arch": "cnn", "lr": 0.001, "limit": None},
        "weights": {"a.weight": torch.randn(3, 2), "a.steps": torch.tensor(7)},
        "data": {"name": ["builtin"], "count": 5, "width": 84, "fingerprint": "sha256:0"},
        "split": {"seed": 0, "train": torch.arange(4), "val": torch.tensor([4])},
        "history": [{"epoch": 1, "best": True}],
        "metrics": {"epoch": 1, "val": {"mse": 1.5}},
        "versions": {"torch": str(torch.__version__)},
    }
    return Checkpoint(**content | changes)


def resumable() -> Checkpoint:
    weight = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([weight])
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=0.1, total_steps=10)
    weight.sum().backward()
    adam.step()
    kept = {"optimizer": [adam.state_dict()], "schedule": [schedule.state_dict()]}
    return made(**kept, random={0: {"cpu": torch.get_rng_state()}}, best={"val_loss": 0.5})


def plain(value: Any) -> Any:
    """Tensors as their type and numbers, so that == compares them."""
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, list):
        return [plain(held) for held in value]
    return (value.dtype, value.tolist()) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize(("make", "state"), [(made, set()), (resumable, STATE)])
def test_what_is_saved_is_loaded_as_a_plain_dict(make: Any, state: set[str]) -> None:
    saved = make()
    save_checkpoint(saved, FILE)
    content = torch.load(FILE, weights_only=True)
    assert type(content) is dict
    assert content["format"] == FORMAT
    assert content.keys() & STATE == state
    loaded = load_checkpoint(FILE)
    assert loaded.resumable == bool(state)
    assert plain(vars(loaded)) == plain(vars(saved))


@pytest.mark.parametrize("value", [np.float64(1), np.int64(1), np.bool_(True), np.ones(2)])
def test_numpy_values_are_never_written(value: Any) -> None:
    with pytest.raises((CheckpointError, TypeError)):
        save_checkpoint(made(metrics={"mse": value}), FILE)
    assert not FILE.exists()


def truncated() -> None:
    save_checkpoint(made(), FILE)
    FILE.write_bytes(FILE.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "does not exist"),
        (FILE.mkdir, "is a folder"),
        (FILE.touch, "is empty: copy it again"),
        (lambda: FILE.write_text("hello world"), "cannot be read as a checkpoint"),
        (lambda: FILE.write_text("<html>404</html>"), "is an HTML page, .* download the file"),
        (truncated, "cannot be read as a checkpoint"),
        (lambda: torch.save([1], FILE), "has no format number"),
        (lambda: torch.save({"format": "1"}, FILE), "has no format number"),
        (lambda: torch.save({"format": FORMAT + 1}, FILE), "install a newer digitsum"),
    ],
)
def test_a_file_that_is_no_checkpoint_says_why(make: Any, words: str) -> None:
    make()
    with pytest.raises(CheckpointError, match=rf"^model\.pt .*{words}"):
        load_checkpoint(FILE)


@pytest.mark.parametrize("key", sorted(vars(made()).keys() - STATE - {"format"}))
def test_a_missing_or_wrong_key_is_named(key: str) -> None:
    content = vars(made())
    for wrong in ({k: v for k, v in content.items() if k != key}, content | {key: 3}):
        torch.save(wrong, FILE)
        with pytest.raises(CheckpointError, match=f"'{key}' is missing or wrong"):
            load_checkpoint(FILE)


@pytest.mark.parametrize(
    ("holder", "key"),
    [("data", "width"), ("data", "fingerprint"), ("split", "val"), ("metrics", "epoch")],
)
def test_a_missing_or_wrong_inner_key_is_named(holder: str, key: str) -> None:
    content = vars(made())
    inner = content[holder]
    for wrong in ({k: v for k, v in inner.items() if k != key}, inner | {key: [3]}):
        torch.save(content | {holder: wrong}, FILE)
        with pytest.raises(CheckpointError, match=rf"'{holder}\.{key}' is missing or wrong"):
            load_checkpoint(FILE)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # which are left to the caller
@pytest.mark.parametrize(
    "weight",
    [
        torch.tensor([1.0, float("nan")]),
        torch.tensor(float("inf")),
        "text",
    ],
)
def test_a_weight_that_is_no_finite_tensor_is_named(weight: Any) -> None:
    torch.save(vars(made(weights={"good": torch.ones(1), "head.bias": weight})), FILE)
    with pytest.raises(CheckpointError, match=r"model\.pt: weight 'head\.bias'"):
        load_checkpoint(FILE)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # which are left to the caller
@pytest.mark.parametrize(
    "weight",
    [
        torch.ones(2, device="meta"),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
    ],
    ids=["meta", "sparse", "complex"],
)
def test_a_weight_of_another_layout_is_not_even_made(weight: Any) -> None:
    torch.save(vars(made(weights={"head.bias": weight})), FILE)
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        load_checkpoint(FILE)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # which are left to the caller
@pytest.mark.parametrize("dump", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_never_executed(dump: Any) -> None:
    dump(vars(made(metrics={"mse": Attack()})), FILE)
    with pytest.raises(CheckpointError, match="never loads"):
        load_checkpoint(FILE)
    assert not Path("executed").exists()
    pickle.loads(pickle.dumps(Attack()))
    assert Path("executed").exists()  # so the attack is a real one


@pytest.mark.parametrize("step", ["torch.save", "os.fsync", "os.replace"])
@pytest.mark.parametrize(
    ("error", "seen", "words"),
    [
        (OSError(28, "disk full"), CheckpointError, r"cannot write model\.pt: disk full"),
        (RuntimeError("disk full\nat"), CheckpointError, r"cannot write model\.pt: disk full$"),
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    step: str, error: Any, seen: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        if step == "torch.save":
            given[1].write(b"half")
        raise error

    save_checkpoint(made(), FILE)
    before = FILE.read_bytes()
    monkeypatch.setattr(step, fail)
    with pytest.raises(seen, match=words):
        save_checkpoint(made(), FILE)
    assert FILE.read_bytes() == before
    assert list(Path().iterdir()) == [FILE]


ODD = [
    None, "x", -1, 10**30, 10**400, 2.5, float("nan"), True, [], [1], ["a"], {}, {1: 2},
    {"a": torch.ones(2)}, torch.ones(2), [torch.ones(1)],
    "=1+1\x1b]0;title\x07\x9b", "\ud800\u202e",
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something lies in nested dicts and lists."""
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from places(inner, (*at, key))
        else:
            yield (*at, key)


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The same with something else at one place."""
    if not at:
        return new
    changed = copy(value)
    changed[at[0]] = replaced(value[at[0]], at[1:], new)
    return changed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_whatever_a_checkpoint_holds_info_shows_it_or_it_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And nothing of it reaches a terminal raw, or a spreadsheet as a formula."""
    content, outcomes = vars(resumable()), Counter[str]()
    for at in places(content):
        if at[0] in ("optimizer", "schedule"):  # which resuming looks at: see test_resuming
            continue
        for odd in ODD:
            torch.save(replaced(content, at, odd), FILE)
            try:
                found = load_checkpoint(FILE)
            except CheckpointError:
                outcomes["refused"] += 1
                continue
            outcomes["shown"] += 1
            shown = card("model.pt", found)
            json.loads(writers.to_json(shown), parse_constant=pytest.fail)
            info._print(shown)
            repr(found)
            lines = capsys.readouterr().out.splitlines()
            assert all(line.isprintable() for line in lines), (at, odd)
            cells = [writers.cell(v) for record in found.history for v in record.values()]
            assert not any(str(cell).startswith("=") for cell in cells)
    assert min(outcomes["refused"], outcomes["shown"]) > 50
