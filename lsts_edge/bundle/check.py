"""The one check that a manifest's parts are made of: it holds, or the bundle is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lsts_edge.errors import ManifestError

__all__ = ["NEWER", "check", "check_digest", "check_name", "check_texts"]

EXPORT_AGAIN = "Export the bundle again with this version of lsts-edge."
NEWER = "Install a newer lsts-edge, or export the bundle again with this one."
"""What to do about a bundle from the future."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(holds: bool, problem: str, got: object, expected: str, fix: str = EXPORT_AGAIN) -> None:
    """Refuse the manifest unless ``holds``.

    Raises:
        ManifestError: with the problem, what was got and what was expected.
    """
    if not holds:
        raise ManifestError(f"manifest: {problem}", got=got, expected=expected, fix=fix)


def check_name(what: str, name: str) -> None:
    """Refuse a name that is not plain: up to 64 letters, digits, ``_``, ``.`` and ``-``, no digit in front."""
    check(bool(_NAME.fullmatch(name)), f"{what} name", ascii(name)[:80], "letters, digits, '_', '.' and '-'")


def check_digest(what: str, digest: str) -> None:
    """Refuse what is not a SHA-256 in hexadecimal."""
    check(bool(_SHA256.fullmatch(digest)), what, ascii(digest)[:80], "64 hex digits")


def check_texts(what: str, texts: Iterable[str], max_chars: int) -> None:
    """Refuse texts longer than ``max_chars``."""
    longest = max((len(text) for text in texts), default=0)
    check(longest <= max_chars, what, f"{longest} characters", f"at most {max_chars}")
