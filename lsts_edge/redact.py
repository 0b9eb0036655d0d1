"""The name of a source without what is secret in it: every message that names a source goes through here."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

__all__ = ["redact"]

HIDDEN = "***"

# What a query's key contains when its value opens a camera; too much is hidden rather than too little.
_SECRET_KEY = re.compile(r"pass|pwd|token|key|user|usr|secret|auth|login|account|credential|sig", re.IGNORECASE)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/+")
_PAIR = re.compile(r"([^?&;#=\s]+)=([^&;#\s]*)")


def redact(source: object) -> str:
    """The source as messages may show it, ``rtsp://***@camera/stream?token=***``.

    Whatever stands before the last ``@`` of a URL is hidden, because a password that was not percent-encoded may hold
    any character, and the values of query parameters that look like a password, token, key or user.

    Args:
        source: a URL, path or number as the user gave it.
    """
    text = str(source)
    scheme = _SCHEME.match(text)
    start = scheme.end() if scheme else 0
    head, rest = text[:start], text[start:]
    at = max(rest.rfind("@"), rest.lower().rfind("%40") + 2 if "%40" in rest else -1)
    # Without a scheme it may be a URL whose scheme was forgotten, or a file name: "me@home.mp4" has no password.
    if at >= 0 and (scheme or ":" in rest[:at]):
        rest = f"{HIDDEN}@{rest[at + 1 :]}"
    if not scheme and "@" not in rest and "?" not in rest:
        return text
    return head + _PAIR.sub(_without_value, rest)


def _without_value(pair: re.Match[str]) -> str:
    key = unquote_plus(unquote_plus(pair[1]))
    return f"{pair[1]}={HIDDEN}" if _SECRET_KEY.search(key) else pair[0]
