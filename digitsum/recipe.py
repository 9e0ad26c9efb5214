"""Every choice that a training run makes, as one flat set of keys.

Precedence, once for all: the architecture's shipped recipe < `--recipe` < `--set` < flag.
Keys past those of `Recipe` are the architecture's own options; its shipped recipe declares
them, their defaults and, by these, their types. Importing this module loads no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from digitsum.errors import RecipeError

Scalar = str | int | float | bool | None

MAX_BYTES = 1_000_000  # a recipe is a page of text


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A resolved recipe.

    Raises:
        RecipeError: A value is not allowed; the message names key, value and what is allowed.
    """

    arch: str
    epochs: int
    batch_size: int  # strips in a step
    optimizer: str
    lr: float  # the highest rate that the schedule reaches
    weight_decay: float
    schedule: str
    seed: int = 0  # initialisation, order, dropout, augmentation
    split_seed: int = 0  # which strips are validation
    limit: int | None = None  # training strips at most; None: all
    warp: float = 0.0  # pixels by which training strips are bent at random; 0: not at all
    ema_decay: float = 0.0  # of the average over steps whose weights are kept; 0: no average
    restarts: int = 0  # fresh starts at most, where a run has learnt nothing in its first quarter
    device: str = "auto"
    precision: str = "auto"
    options: Mapping[str, Scalar] = field(default_factory=dict)  # the architecture's own

    def __post_init__(self) -> None:
        for key, (allowed, ok) in _ALLOWED.items():
            value = getattr(self, key)
            if not ok(value):
                raise RecipeError(f"{key}: {value!r} is not allowed: it must be {allowed}")

    @property
    def digits_per_strip(self) -> int | None:
        """How many digits each strip is known to hold; None if that is not known."""
        known = self.options.get("digits_per_strip")
        return known if isinstance(known, int) else None

    def to_dict(self) -> dict[str, Scalar]:
        """Flat keys, options included: what a YAML recipe and a checkpoint hold."""
        common = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        return {**common, **self.options}

    @classmethod
    def from_dict(cls, keys: Mapping[str, Scalar]) -> Recipe:
        """The inverse of `to_dict`; the architecture's shipped recipe fills what is absent.

        Raises:
            RecipeError: A key is unknown or a value is not allowed.
        """
        arch = keys.get("arch")
        if arch is None:
            raise RecipeError(f"no architecture: give --arch, one of {', '.join(names())}")
        if arch not in names():
            raise RecipeError(f"arch: {arch!r} is unknown: choose from {', '.join(names())}")
        shipped = _read(str(resources.files("digitsum") / "recipes" / f"{arch}.yaml"))
        defaults: dict[str, Any] = {
            f.name: f.default for f in fields(cls) if f.default is not MISSING
        }
        defaults |= shipped
        for key in keys:
            if key not in defaults:
                raise RecipeError(_unknown(key, str(arch), defaults))
        common = {f.name for f in fields(cls)}
        merged = {
            key: _coerce(key, keys.get(key, default), default, nullable=key not in common)
            for key, default in defaults.items()
        }
        own: dict[str, Any] = {f.name: merged.pop(f.name) for f in fields(cls)[:-1]}
        return cls(**own, options=merged)


_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "epochs": ("a whole number from 1 up", lambda v: v >= 1),
    "batch_size": ("a whole number from 1 up", lambda v: v >= 1),
    "optimizer": ("adam, adamw or muon", lambda v: v in ("adam", "adamw", "muon")),
    "lr": ("a number above 0", lambda v: 0 < v < float("inf")),
    "weight_decay": ("a number from 0 up", lambda v: 0 <= v < float("inf")),
    "schedule": ("constant or one_cycle", lambda v: v in ("constant", "one_cycle")),
    "seed": ("a whole number in 0..4294967295", lambda v: 0 <= v < 2**32),
    "split_seed": ("a whole number in 0..4294967295", lambda v: 0 <= v < 2**32),
    "limit": ("a whole number from 1 up, or null", lambda v: v is None or v >= 1),
    "warp": ("a number of pixels in 0..10", lambda v: 0 <= v <= 10),
    "ema_decay": ("a number from 0 up and below 1", lambda v: 0 <= v < 1),
    "restarts": ("a whole number from 0 up", lambda v: v >= 0),
    "precision": ("auto, fp32 or bf16", lambda v: v in ("auto", "fp32", "bf16")),
}


def names() -> list[str]:
    """Architectures that have a shipped recipe."""
    folder = resources.files("digitsum") / "recipes"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))


def gather(
    file: Path | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Scalar] | None = None,
) -> dict[str, Scalar]:
    """The keys that a person gave, by precedence; None among the flags means not given.

    Args:
        file: A YAML recipe.
        settings: `key=value` strings, values in YAML.
        flags: Keys set one by one.

    Raises:
        RecipeError: A source cannot be read.
    """
    keys: dict[str, Scalar] = {}
    if file is not None:
        keys.update(_read(str(file)))
    for setting in settings:
        keys.update([_setting(setting)])
    keys.update({key: value for key, value in (flags or {}).items() if value is not None})
    return keys


def _read(path: str) -> dict[str, Scalar]:
    """The flat mapping in a YAML file."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not YAML: it is not text in UTF-8") from error
    if len(text) > MAX_BYTES:
        raise RecipeError(f"recipe {path} is larger than {MAX_BYTES:,} characters: that is none")
    loaded = _yaml(text, f"recipe {path} is not YAML")
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise RecipeError(f"recipe {path} is not a list of `key: value` lines")
    return loaded


def _setting(text: str) -> tuple[str, Scalar]:
    """`key=value` taken apart, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text!r} is not of the form key=value")
    return key.strip(), _yaml(value, f"--set {key}: this is not a YAML value")


def _yaml(text: str, wrong: str) -> Any:
    """What YAML text says, nothing constructed but plain values."""
    try:
        return yaml.safe_load(text)
    except Exception as error:  # PyYAML lets KeyError, IndexError, AttributeError and more out
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"{wrong}: {reason}") from error


def _unknown(key: str, arch: str, known: Mapping[str, Scalar]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown recipe key '{key}' for {arch}{hint}: known are {', '.join(sorted(known))}"


def _coerce(key: str, value: Scalar, default: Scalar, nullable: bool) -> Scalar:
    """`value` as the type of `default`; null passes where the default is null.

    YAML reads 1e-3 as text, so text that is a number is one where a number is due.

    Args:
        key: For the message.
        value: What was given.
        default: What the shipped recipe has.
        nullable: Whether null passes for a whole number too, for the architecture to judge.
    """
    kind = type(default) if default is not None else int
    if value is None and (default is None or (nullable and kind is int)):
        return None
    try:
        if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float | str) and float(value).is_integer():
            return int(float(value))
    except (ValueError, OverflowError):
        pass
    if type(value) is kind and not (isinstance(value, int) and abs(value) >= 2**63):
        return value
    wanted = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind]
    seen = "a number of that size" if isinstance(value, int) and abs(value) > 2**63 else repr(value)
    raise RecipeError(f"{key}: {seen} is not allowed: it must be {wanted}")
