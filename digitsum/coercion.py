"""Values that a person gave, as the plain types that are due. Loads neither NumPy nor torch."""

from __future__ import annotations

import numbers
import re
import reprlib
import typing
from typing import Any

from digitsum.errors import RecipeError

_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def plain(value: Any) -> Any:
    """What NumPy calls a number, a text or an array, as Python's; other values as they are.

    Grids of parameters are often arrays, and a checkpoint holds plain values alone. Lists are
    looked into, but not lists in them: a few lines of YAML can name more of those than fit into
    memory.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if type(value) in (list, tuple):
        return type(value)(map(_plain_scalar, value))
    if type(value) is dict:
        return {_plain_scalar(key): _plain_scalar(inner) for key, inner in value.items()}
    return _plain_scalar(value)


def _shown(value: Any) -> str:
    """A value for a message; of lists in lists only the beginning, as in `plain`."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring = 2, 200
    return short.repr(value)


def _plain_scalar(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):  # a long double, say, of which there is none in Python
        return float(value)
    return value


def whole_number(text: str) -> int | None:
    """Digits 0 to 9 as a number; None for other text, and for more digits than any count has.

    `int` takes digits of other scripts too, and raises ValueError for more than 4,300 of them.
    """
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def coerce(key: str, value: Any, annotation: Any) -> Any:
    """`value` as the type that an annotation names: int, float, str or bool, perhaps or None.

    YAML reads 1e-3 as text, so text that is a number is a number where one is due. Values of
    any other annotation stay as they are. `key` is for the message.

    Raises:
        RecipeError: It is of another type.
    """
    named = typing.get_args(annotation) or (annotation,)
    if value is None and type(None) in named:
        return None
    kinds = [kind for kind in named if kind in _KINDS]
    if not kinds:
        return value
    for kind in kinds:
        try:
            if kind is float and type(value) in (int, float, str):
                return float(value)
            if kind is int and type(value) in (float, str) and float(value).is_integer():
                return int(float(value))
        except (ValueError, OverflowError):
            continue
        if type(value) is kind and not (kind is int and abs(value) >= 2**63):
            return value
    seen = "a number of that size" if type(value) is int and abs(value) > 2**63 else _shown(value)
    wanted = " or ".join(_KINDS[kind] for kind in kinds)
    raise RecipeError(f"{key}: {seen} is not allowed: it must be {wanted}")
