"""The architectures, by name.

To add one to digitsum: a file here with a subclass of `Architecture`, a row in `ARCHITECTURES`,
and `recipes/NAME.yaml`. One that lives outside needs none of that: it is named as `module:Class`.
Importing this module loads no torch.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from digitsum.coercion import coerce
from digitsum.errors import CheckpointError, DigitsumError, RecipeError, UsageError
from digitsum.recipe import Recipe, unknown_key

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from digitsum.models.base import Architecture

ARCHITECTURES = {
    "cnn": "digitsum.models.cnn:AttentionCNN",
    "resnet": "digitsum.models.resnet:ResNet50",
    "reader": "digitsum.models.reader:Reader",
}


def architecture(arch: str) -> type[Architecture]:
    """The class behind a name that a person gave; `module:Class` is imported.

    Raises:
        UsageError: There is no such architecture.
    """
    from digitsum.models.base import Architecture

    if arch not in ARCHITECTURES and not all(arch.partition(":")):
        raise UsageError(
            f"unknown architecture '{arch}': choose from {', '.join(ARCHITECTURES)}, or name a "
            "class of your own as module:Class"
        )
    module, _, name = ARCHITECTURES.get(arch, arch).partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"architecture {arch} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Architecture)):
        raise UsageError(
            f"{arch} is no architecture: it must be a subclass of digitsum.Architecture"
        )
    return found


def architecture_of_checkpoint(
    arch: str, path: str, named: Collection[str] = ()
) -> type[Architecture]:
    """The class that a checkpoint names; digitsum imports nothing because a file says so.

    A class from outside digitsum is taken only if the person has named it too, or if its module is
    imported already.

    Args:
        arch: As the checkpoint has it.
        path: Path of the checkpoint, for messages.
        named: Architectures that the person has named.

    Raises:
        CheckpointError: The architecture is unknown, or has not been named by the person.
        UsageError: It was named and cannot be imported.
    """
    from digitsum.models.base import Architecture

    if arch in ARCHITECTURES or arch in named:
        return architecture(arch)
    module, colon, name = arch.partition(":")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if isinstance(found, type) and issubclass(found, Architecture):
        return found
    if not (module and colon and name):
        raise CheckpointError(
            f"{path} is of the unknown architecture '{arch}': this digitsum has "
            f"{', '.join(ARCHITECTURES)}"
        )
    raise CheckpointError(
        f"{path} is of the architecture {arch}, which digitsum does not import because a file says "
        f"so: if you trust that module, name it with --arch {arch} (in Python: import {module})"
    )


def resolve_options(recipe: Recipe) -> Recipe:
    """The recipe with its options checked against the architecture and of the right types.

    Raises:
        UsageError: There is no such architecture.
        RecipeError: An option is unknown or of the wrong type, weights are named for an
            architecture that starts fresh, or strips are cropped for one of a single width.
    """
    cls = architecture(recipe.arch)
    options = check_options(cls, recipe.arch, recipe.options)
    if recipe.weights != "none" and not cls.starts_from_weights():
        able = [name for name in ARCHITECTURES if architecture(name).starts_from_weights()]
        raise RecipeError(
            f"weights: {recipe.weights!r} is not allowed: {recipe.arch} takes none, it starts "
            f"fresh; {' and '.join(able)} start from weights"
        )
    if recipe.crop and not cls.crops:
        raise RecipeError(
            f"crop: {recipe.crop} is not allowed: {recipe.arch} takes whole strips; give 0"
        )
    return replace(recipe, options=options)


def check_options(cls: type[Architecture], arch: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the types that the constructor's annotations name, all defaults filled in.

    Raises:
        RecipeError: An option is unknown, missing, or of the wrong type.
    """
    parameters = dict(inspect.signature(cls).parameters)
    parameters.pop("width", None)
    annotations = typing.get_type_hints(cls.__init__)
    checked = {}
    for key in options:
        if key not in parameters:
            common = [name for name in Recipe.__dataclass_fields__ if name != "options"]
            raise RecipeError(unknown_key(key, arch, [*common, *parameters]))
    for key, parameter in parameters.items():
        if key not in options and parameter.default is parameter.empty:
            raise RecipeError(f"{key} is missing: {arch} needs it in its recipe")
        value = options.get(key, parameter.default)
        checked[key] = coerce(key, value, annotations.get(key, Any))
    return checked


def create(cls: type[Architecture], width: int, options: Mapping[str, Any]) -> Architecture:
    """A fresh model for strips of that width, initialised from torch's global seed.

    Args:
        cls: The architecture.
        width: Width of the strips in pixels.
        options: Keyword arguments of its constructor; see `check_options`.

    Raises:
        RecipeError: An option is not allowed.
    """
    try:
        return cls(width, **options)
    except DigitsumError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{cls.__name__} cannot be built from this recipe: {error}") from error


def laid_out(
    cls: type[Architecture],
    width: int,
    options: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
) -> Architecture:
    """A model without memory, which `weights` fit; nothing is allocated.

    Raises:
        CheckpointError: Names, shapes or types differ from the architecture's.
    """
    import torch

    with torch.device("meta"):
        model = create(cls, width, options)
    if problem := difference(model.state_dict(), weights):
        raise CheckpointError(f"weights do not fit the architecture {cls.__name__}: {problem}")
    return model


def restore(
    cls: type[Architecture],
    width: int,
    options: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
) -> Architecture:
    """The model that `weights` belong to, in evaluation mode on the CPU.

    Raises:
        CheckpointError: See `laid_out`, which comes first.
    """
    model = laid_out(cls, width, options, weights)
    model.load_state_dict({name: weights[name].clone() for name in model.state_dict()}, assign=True)
    return model.requires_grad_().eval()


def difference(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> str | None:
    """The first way in which two state dicts differ in names, shapes or types; None if none."""
    for name in expected:
        if name not in found:
            return f"'{name}' is missing"
    for name, tensor in found.items():
        if name not in expected:
            return f"'{name}' is unknown"
        if tensor.shape != expected[name].shape:
            want, have = tuple(expected[name].shape), tuple(tensor.shape)
            return f"'{name}' has shape {have}, expected {want}"
        if tensor.dtype != expected[name].dtype:
            return f"'{name}' holds {tensor.dtype}, expected {expected[name].dtype}"
    return None
