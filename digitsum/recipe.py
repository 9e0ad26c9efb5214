"""Every choice that a training run makes, as one flat set of keys.

Precedence, once for all: the architecture's recipe < `--recipe` < `--set` < flag.
Keys past the fields of `Recipe` are options of the architecture's constructor; their types are
those of its annotations (see `digitsum.models.check_options`). This module loads no torch.
"""

from __future__ import annotations

import difflib
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources, util
from pathlib import Path
from typing import Any

import yaml

from digitsum.coercion import coerce, plain
from digitsum.errors import RecipeError
from digitsum.file_kinds import UnreadableFileError, open_regular

Scalar = str | int | float | bool | None

MAX_BYTES = 100_000  # a recipe is a page of text
LATER = {"pct_start", "crop"}  # keys that checkpoints from before them do not have
LONGEST = 100  # characters of a whole number; of thousands, Python prints none


def _limits(allowed: str, ok: Callable[[Any], bool], default: Any = MISSING) -> Any:
    """A field with the values that it may take, in words and as a check."""
    return field(default=default, metadata={"allowed": allowed, "ok": ok})


def _one_of(*names: str, default: Any = MISSING) -> Any:
    words = f"{', '.join(names[:-1])} or {names[-1]}"
    return _limits(words, lambda value: value in names, default)


@dataclass(frozen=True, kw_only=True, init=False)
class Recipe:
    """A resolved recipe: `Recipe(arch="cnn", epochs=5, dropout=0.2)`.

    Keys that are not given are taken from the architecture's own recipe. Where all but options are
    given, as in a checkpoint, the options are the given ones alone.

    Attributes:
        arch: The architecture, a name of digitsum's or `module:Class`.
        epochs: Number of passes over the training strips.
        batch_size: Number of strips in a step.
        optimizer: `adam`, `adamw`, or `muon` (for kernels of convolutions, AdamW for the rest).
        lr: Learning rate, the highest one that the schedule reaches.
        weight_decay: Weight decay of the optimizer.
        schedule: `constant` or `one_cycle`.
        pct_start: Share of the run in which the rate of `one_cycle` rises.
        weights: What training starts from; each architecture says what it takes.
        seed: Random seed for initialisation, order, dropout and elastic distortion.
        split_seed: Random seed for the split into training and validation strips.
        limit: Number of training strips at most; None for all.
        crop: Black columns at the sides of the strips of a step are left out, but for so many
            pixels; 0 leaves strips as they are. It needs an architecture that takes any width.
        warp: Elastic distortion of training strips, a standard deviation in pixels; 0 for none.
        ema_decay: Decay of the average over steps whose weights are kept; 0 for no average.
        restarts: Number of fresh starts at most, where a quarter of the run has taught nothing.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32` or `bf16`.
        options: Options of the architecture's constructor.

    Raises:
        RecipeError: A key is unknown or a value is not allowed.
    """

    arch: str
    # a history of more epochs than these two allow could not be loaded: see torch_files
    epochs: int = _limits("a whole number in 1..10000", lambda v: 1 <= v <= 10_000)
    batch_size: int = _limits("a whole number from 1 up", lambda v: v >= 1)
    optimizer: str = _one_of("adam", "adamw", "muon")
    lr: float = _limits("a number above 0", lambda v: 0 < v < float("inf"))
    weight_decay: float = _limits("a number from 0 up", lambda v: 0 <= v < float("inf"))
    schedule: str = _one_of("constant", "one_cycle")
    pct_start: float = _limits("a number in 0..1", lambda v: 0 <= v <= 1, 0.3)
    weights: str = "none"
    seed: int = _limits("a whole number in 0..4294967295", lambda v: 0 <= v < 2**32, 0)
    split_seed: int = _limits("a whole number in 0..4294967295", lambda v: 0 <= v < 2**32, 0)
    limit: int | None = _limits(
        "a whole number from 1 up, or null", lambda v: v is None or v >= 1, None
    )
    crop: int = _limits("a number of pixels from 0 up", lambda v: v >= 0, 0)
    warp: float = _limits("a number of pixels in 0..10", lambda v: 0 <= v <= 10, 0.0)
    ema_decay: float = _limits("a number from 0 up and below 1", lambda v: 0 <= v < 1, 0.0)
    restarts: int = _limits("a whole number in 0..10", lambda v: 0 <= v <= 10, 0)
    device: str = "auto"
    precision: str = _one_of("auto", "fp32", "bf16", default="auto")
    options: Mapping[str, Scalar] = field(default_factory=dict)

    def __init__(self, arch: str, **keys: Any) -> None:
        options = {**keys.pop("options", {})}
        arch = plain(arch)
        given = plain({**options, **keys, "arch": arch})
        common = {f.name: f for f in fields(self) if f.name != "options"}
        complete = common.keys() - LATER <= given.keys()  # as `to_dict` gives them
        own = _own_recipe(arch, complete)
        defaults = {name: f.default for name, f in common.items() if f.default is not MISSING}
        merged: dict[str, Any] = {**defaults, **own, **given}
        known = {**common, **own}
        if arch in names() and not complete and (odd := [key for key in given if key not in known]):
            raise RecipeError(unknown_key(odd[0], arch, known))
        if missing := [name for name in common if name not in merged]:
            raise RecipeError(
                f"arch {arch} has no recipe beside it: put one into {_beside(arch)[0].name} or "
                f"give one in full with --recipe; missing: {', '.join(missing)}"
            )
        annotations = typing.get_type_hints(type(self))
        for name in common:
            value = coerce(name, merged.pop(name), annotations[name])
            _check_limits(common[name], value)
            object.__setattr__(self, name, value)
        if merged.get("digits_per_strip") == "any":
            merged["digits_per_strip"] = None  # which is how a checkpoint has it
        object.__setattr__(self, "options", merged)

    def __repr__(self) -> str:
        """In one line; later keys at their defaults are left out, as in older checkpoints."""
        keys = [
            f for f in fields(self) if f.name not in LATER or getattr(self, f.name) != f.default
        ]
        return f"Recipe({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in keys)})"

    @property
    def digits_per_strip(self) -> int | None:
        """How many digits each strip is known to hold; None if that is not known."""
        known = self.options.get("digits_per_strip")
        return known if isinstance(known, int) else None

    def to_dict(self) -> dict[str, Scalar]:
        """Flat keys, options included, as a YAML recipe and a checkpoint hold them."""
        common = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        return {**common, **self.options}

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; the architecture's own recipe fills in what is absent.

        Raises:
            RecipeError: There is no architecture, a key is unknown, or a value is not allowed.
        """
        if keys.get("arch") is None:
            raise RecipeError(f"no architecture: give --arch, one of {', '.join(names())}")
        return cls(**keys)


def names() -> list[str]:
    """Architectures that have a bundled recipe."""
    return _stems("recipes")


def variants() -> list[str]:
    """Bundled recipes besides: a few keys, by which `--recipe NAME` changes an architecture's."""
    return _stems("recipes/variants")


def _stems(folder: str) -> list[str]:
    """Names of the YAML files in a folder of the package."""
    found = (resources.files("digitsum") / folder).iterdir()
    return sorted(f.name[:-5] for f in found if f.name.endswith(".yaml"))


def bundled_text(name: str) -> str:
    """A bundled recipe as the YAML that it is, comments and all."""
    folder = resources.files("digitsum") / "recipes"
    folder = folder / "variants" if name in variants() else folder
    return (folder / f"{name}.yaml").read_text(encoding="utf-8")


def bundled(name: str) -> dict[str, Any]:
    """The keys of a bundled recipe."""
    return dict(_yaml(bundled_text(name), f"the recipe of {name} is not YAML"))


def merge_sources(
    file: Path | None = None,
    settings: Iterable[str] = (),
    flags: Mapping[str, Scalar] | None = None,
) -> dict[str, Scalar]:
    """The keys that a person gave, by precedence; None among the flags means not given.

    Args:
        file: A YAML recipe, or the name of one of the `variants`, if there is no such file.
        settings: `key=value` texts, values in YAML.
        flags: Keys set one by one.

    Raises:
        RecipeError: A source cannot be read, or only the file names an outside architecture.
    """
    keys: dict[str, Scalar] = {}
    if file is not None:
        named = str(file) in variants() and not file.exists()
        keys.update(bundled(str(file)) if named else _read(file))
    typed = dict(map(_setting, settings))
    typed |= {key: value for key, value in (flags or {}).items() if value is not None}
    if ":" in str(keys.get("arch")) and "arch" not in typed:
        raise RecipeError(
            f"recipe {file} is for {keys['arch']}, which digitsum does not import because a file "
            f"says so: if you trust that module, name it with --arch {keys['arch']}"
        )
    return keys | typed


def unknown_key(key: str, arch: str, known: Iterable[str]) -> str:
    """The message for a key that an architecture does not have."""
    near = difflib.get_close_matches(key, list(known), n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown recipe key '{key}' for {arch}{hint}: known are {', '.join(sorted(known))}"


def _check_limits(field: Any, value: Any) -> None:
    if "ok" in field.metadata and not field.metadata["ok"](value):
        raise RecipeError(
            f"{field.name}: {value!r} is not allowed: it must be {field.metadata['allowed']}"
        )


def _own_recipe(arch: Any, complete: bool) -> dict[str, Any]:
    """The architecture's recipe: the bundled one, or the file beside an outside class.

    Args:
        arch: A name of digitsum's, or `module:Class`.
        complete: Whether all common keys are given. Then options that are not are the
            constructor's own, and not those of a recipe that may have been written since.

    Raises:
        RecipeError: There is no such architecture.
    """
    if isinstance(arch, str) and arch in names():
        return {} if complete else bundled(arch)
    if not isinstance(arch, str) or not all(arch.partition(":")):
        raise RecipeError(
            f"arch: {arch!r} is unknown: choose from {', '.join(names())}, or name a class of "
            "your own as module:Class"
        )
    if complete:
        return {}
    found = [path for path in _beside(arch) if path.is_file()]
    return {key: v for key, v in _read(found[0]).items() if key != "arch"} if found else {}


def _beside(arch: str) -> list[Path]:
    """Where the recipe of `module:Class` may lie: `class.yaml` or `module.yaml` beside the module.

    Raises:
        RecipeError: There is no such module.
    """
    module, _, cls = arch.partition(":")
    try:
        loaded = sys.modules.get(module)
        spec = None if loaded else util.find_spec(module)
        origin = getattr(loaded, "__file__", None) if loaded else spec and spec.origin
    except (ImportError, ValueError) as error:
        raise RecipeError(f"arch {arch}: the module cannot be found ({error})") from error
    if not loaded and not spec:
        raise RecipeError(f"arch {arch}: there is no module {module} here or among the installed")
    folder = Path(origin).parent if origin else Path()
    return [folder / f"{name}.yaml" for name in (cls.lower(), module.rpartition(".")[2])]


def _read(path: Path) -> dict[str, Scalar]:
    """The flat mapping in a YAML file."""
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except UnreadableFileError as error:
        unread = "cannot be read: it "
        reason = error.reason if error.reason.startswith("cannot") else unread + error.reason
        missing = error.reason == "does not exist"
        known = f"; give a YAML file, or {' or '.join(variants())}" if missing else ""
        raise RecipeError(f"recipe {path} {reason}{known}") from error
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"recipe {path} is larger than {MAX_BYTES:,} bytes: it is not a recipe")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not YAML: it is not text in UTF-8") from error
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


class _Loader(yaml.SafeLoader):
    """YAML's plain values alone, no merge keys, no whole number that Python would not print."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses a key that is there twice, of which PyYAML would take the last, and `<<`.

        Before PyYAML 6.0.4 a few lines with `<<` fill all memory.
        """
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ValueError("merge keys (<<) are not allowed")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is there twice")
            seen.add(key.value)


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > LONGEST:
        raise ValueError(f"a whole number of {len(node.value):,} characters is not allowed")
    return int(loader.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _yaml(text: str, wrong: str) -> Any:
    """What YAML text says, nothing constructed but plain values."""
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # PyYAML lets KeyError, IndexError, AttributeError and more out
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"{wrong}: {reason}") from error
