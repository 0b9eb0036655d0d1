"""Strict JSON for files we did not write: bytes -> plain data -> frozen dataclasses, refusing everything doubtful."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from lsts_edge.errors import LstsEdgeError, ManifestError

__all__ = ["canonical_json", "decode", "parse_json"]

MAX_DIGITS = 20
MAX_STRING_CHARS = 8192
_SHOWN_CHARS = 60
_MANIFEST = "manifest.json"
_AGAIN = "Export the bundle again."
_NEWER = "Export the bundle again, or install a newer lsts-edge: later versions may know this key."

_T = TypeVar("_T")


def canonical_json(data: Any) -> bytes:
    """The one byte string for ``data``: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ManifestError: if a number is not finite or a value is no JSON.
    """
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _refused("cannot be written as JSON", got=str(error), expected="finite numbers, text, lists") from error
    return text.encode("ascii")


def parse_json(raw: bytes, *, max_bytes: int, file: str = _MANIFEST) -> Any:
    """Plain data from ``raw``; duplicate keys, NaN, infinite or overlong numbers and deep nesting are refused.

    Args:
        raw: the file's bytes.
        max_bytes: no more are read.
        file: its name, for the error.
    Raises:
        ManifestError: if the bytes are not such JSON or more than ``max_bytes``.
    """
    if len(raw) > max_bytes:
        raise _refused("is too large", got=f"{len(raw)} bytes", expected=f"at most {max_bytes} bytes", file=file)
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=functools.partial(_object, file=file),
            parse_constant=functools.partial(_constant, file=file),
            parse_float=functools.partial(_float, file=file),
            parse_int=functools.partial(_int, file=file),
        )
    except LstsEdgeError:
        raise
    except RecursionError as error:
        raise _refused("is nested too deep", got="the parser's limit", expected="a few levels", file=file) from error
    except ValueError as error:
        raise _refused("is not JSON", got=str(error)[:_SHOWN_CHARS], expected="UTF-8 JSON", file=file) from error


def decode(kind: type[_T], data: Any, where: str = f"{_MANIFEST}: manifest") -> _T:
    """Build ``kind``, a frozen dataclass whose annotations are the schema, from parsed JSON.

    Keys are a closed set; only fields with a default may be missing. Types are exact: ``true`` is no
    integer, and an integer is taken for a float but not the other way round.

    Args:
        kind: the dataclass.
        data: what ``parse_json`` gave.
        where: the data's place, for the error.
    Raises:
        ManifestError: naming the place, if the data does not fit.
    """
    return typing.cast("_T", _decode(kind, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if origin is Literal:
        if type(data) not in (str, int) or data not in arguments:
            raise _wrong(where, data, " or ".join(repr(choice) for choice in arguments))
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, data, where)
    if origin is tuple:
        return _decode_tuple(arguments, data, where)
    if origin is Mapping:
        if not isinstance(data, dict):
            raise _wrong(where, data, "an object")
        return {
            _decode(str, key, where): _decode(arguments[1], value, f"{where}.{_shown(key)}")
            for key, value in data.items()
        }
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise _wrong(where, data, {str: "text", int: "an integer", float: "a number"}.get(kind, str(kind)))
    if kind is str and not (len(data) <= MAX_STRING_CHARS and data.isprintable()):
        raise _wrong(where, data, f"at most {MAX_STRING_CHARS} printable characters")
    return data


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, data, "an object")
    hints, required = _schema(kind)
    unknown = sorted(set(data) - set(hints))
    missing = sorted(required - set(data))
    if unknown:
        raise _wrong(
            where, f"the key {_shown(unknown[0])}", f"only {', '.join(sorted(hints))}", quote=False, fix=_NEWER
        )
    if missing:
        raise _wrong(where, f"no {missing[0]}", f"the keys {', '.join(sorted(required))}", quote=False)
    values = {name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except ManifestError:
        raise
    except LstsEdgeError as error:
        raise _wrong(where, error.got, f"{error.expected} ({error.problem})", quote=False) from error


@functools.cache
def _schema(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """A dataclass's field types, and the names of those without a default."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    required = frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)
    return {field.name: hints[field.name] for field in fields}, required


def _decode_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    candidates = [kind for kind in kinds if kind is not type(None)]
    if len(candidates) == 1:
        return _decode(candidates[0], data, where)
    for kind in candidates:
        if type(data) is kind:
            return _decode(kind, data, where)
    raise _wrong(where, data, " or ".join(kind.__name__ for kind in candidates))


def _decode_tuple(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if not isinstance(data, list):
        raise _wrong(where, data, "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    if len(kinds) != len(data):
        raise _wrong(where, f"{len(data)} items", f"{len(kinds)} items", quote=False)
    return tuple(_decode(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(zip(kinds, data, strict=True)))


def _object(pairs: list[tuple[str, Any]], *, file: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _refused("has a key twice", got=_shown(twice), expected="each key once", file=file)
    return found


def _constant(text: str, *, file: str) -> float:
    raise _refused("has a number that is not finite", got=text, expected="finite numbers", file=file)


def _float(text: str, *, file: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _refused("has a number that is not finite", got=_shown(text), expected="finite numbers", file=file)
    return value


def _int(text: str, *, file: str) -> int:
    if len(text) > MAX_DIGITS:
        expected = f"at most {MAX_DIGITS}"
        raise _refused("has an overlong number", got=f"{len(text)} digits", expected=expected, file=file)
    return int(text)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _wrong(where: str, got: object, expected: str, *, quote: bool = True, fix: str = _AGAIN) -> ManifestError:
    shown = _shown(got) if quote else str(got)
    return ManifestError(where, got=shown, expected=expected, fix=fix)


def _refused(problem: str, *, got: str, expected: str, file: str = _MANIFEST) -> ManifestError:
    return ManifestError(f"{file} {problem}", got=got, expected=expected, fix=_AGAIN)
