"""The name of a source without what is secret in it: every message that names a source goes through here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import unquote_plus

__all__ = ["redact", "redact_error", "redact_text"]

HIDDEN = "***"

# What a query's key contains when its value opens a camera; too much is hidden rather than too little.
_SECRET_KEY = re.compile(
    r"pass|pwd|psw|^pw$|token|key|user|usr|secret|auth|login|account|credential|sig|session|jwt|bearer|^pin$|^otp$",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/+")
_AT = re.compile(r"@|%(?:25)*40", re.IGNORECASE)
_EQUALS = re.compile(r"=|%(?:25)*3d", re.IGNORECASE)
_SEPARATOR = re.compile(r"([?&;#\s])")

_Error = TypeVar("_Error", bound=BaseException)


def redact(source: object) -> str:
    """The source as messages may show it, ``rtsp://***@camera/stream?token=***``.

    Whatever stands before the last ``@`` of a URL is hidden, because a password that was not percent-encoded may hold
    any character, and the values of query parameters that look like a password, token, key or user, with all that
    follows them up to the next parameter. A text that went through here before stays as it is.

    Args:
        source: a URL, path or number as the user gave it.
    """
    text = str(source)
    scheme = _SCHEME.match(text)
    start = scheme.end() if scheme else 0
    head, rest = text[:start], text[start:]
    at = max(((match.start(), match.end()) for match in _AT.finditer(rest)), default=None)
    # Without a scheme it may be a URL whose scheme was forgotten, or a file name: "me@home.mp4" has no password.
    if at is not None and (scheme or ":" in rest[: at[0]]):
        if _without_values(rest[: at[0]])[1]:  # the @ may be part of a secret value: where the host is, nobody knows
            return head + HIDDEN
        rest = f"{HIDDEN}@{rest[at[1] :]}"
    if not scheme and "@" not in rest and "?" not in rest:
        return text
    return head + _without_values(rest)[0]


def redact_text(text: str, words: Iterable[str] = ()) -> str:
    """A text in which none of ``words`` stands with its secret, such as those of a command line.

    Args:
        text: any.
        words: sources, or options with one: ``--source=rtsp://...``.
    """
    known = {part for word in words for part in (word, word.partition("=")[2]) if redact(part) != part}
    for word in sorted(known, key=len, reverse=True):
        for spelled in (word, repr(word)[1:-1]):
            text = text.replace(spelled, redact(word))
        as_path = str(PurePosixPath(word))  # where a file was wanted: "//" is one "/" then
        text = text.replace(as_path, redact(as_path))
    return text


def redact_error(error: _Error) -> _Error:
    """The error, changed so that it may be a cause: a system's error tells the address that was opened.

    Args:
        error: of PyAV or the system.
    """
    error.args = tuple(redact(value) if isinstance(value, str) else value for value in error.args)
    if isinstance(error, OSError) and isinstance(error.filename, str) and redact(error.filename) != error.filename:
        error.filename = redact(error.filename)
    return error


def _without_values(rest: str) -> tuple[str, bool]:
    """What follows a scheme, without the values of secret keys; and whether it ends within such a value.

    A part without a key belongs to the value before it.
    """
    told: list[str] = []
    hidden = False
    parts = ["", *_SEPARATOR.split(rest)]
    for separator, part in zip(parts[::2], parts[1::2], strict=True):
        equals = _EQUALS.search(part)
        if equals is not None:
            hidden = _SECRET_KEY.search(unquote_plus(unquote_plus(part[: equals.start()]))) is not None
            told += [separator, part[: equals.end()] + HIDDEN if hidden else part]
        elif not hidden:
            told += [separator, part]
    return "".join(told), hidden
