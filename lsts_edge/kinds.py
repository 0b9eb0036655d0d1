"""Whether an option has the type that it is declared with: a four-part error in place of a TypeError somewhere."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from lsts_edge.errors import OptionError

__all__ = ["check_fields", "check_kind"]

_NUMBERS = {int: numbers.Integral, float: numbers.Real}
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "True or False", type(None): "None"}


def check_fields(options: Any) -> None:
    """Check each field of a dataclass against its annotation: first in ``__post_init__``, before ranges are compared.

    A number may be of numpy's types, but no bool and no NaN. A type that only a type checker imports is not looked at.

    Raises:
        OptionError: naming the field and what was given.
    """
    for name, kind in _hints(options.__class__).items():
        check_kind(f"{type(options).__name__}.{name}", getattr(options, name), kind)


def check_kind(name: str, value: object, kind: Any) -> None:
    """Check one value.

    Args:
        name: of the option, for the message.
        value: as given.
        kind: a class, or what an annotation may be made of: unions, literals, tuples, lists, mappings, callables.
    Raises:
        OptionError: if it is of another kind.
    """
    if not _fits(value, kind):
        got = "NaN" if isinstance(value, float) and math.isnan(value) else f"{_short(value)} ({type(value).__name__})"
        raise OptionError(name, got=got, expected=_named(kind), fix="Give a value of this kind.")


def _fits(value: object, kind: Any) -> bool:
    if kind is Any or isinstance(kind, typing.TypeVar):
        return True
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (Ellipsis,):
            return all(_fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if origin is not None and origin is not Callable:
        return not isinstance(origin, type) or isinstance(value, origin)
    if kind is Callable or origin is Callable:
        return callable(value)
    if kind in _NUMBERS:
        wrong = isinstance(value, bool) or not isinstance(value, _NUMBERS[kind])
        return not wrong and value == value
    if getattr(kind, "_is_protocol", False):
        return all(hasattr(value, name) for name in vars(kind) if not name.startswith("_"))
    return value is None if kind is None else not isinstance(kind, type) or isinstance(value, kind)


def _named(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_named(one) for one in inner))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return "a tuple of " + ", ".join("..." if one is Ellipsis else _named(one) for one in inner)
    if kind is Path:
        return "a pathlib.Path"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
    """Annotations by field, those left out that cannot be looked up where the program runs."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(owner):
        bearer = type(owner.__name__, (), {"__annotations__": {field.name: field.type}, "__module__": owner.__module__})
        try:
            found |= typing.get_type_hints(bearer)
        except NameError:
            continue
    return found
