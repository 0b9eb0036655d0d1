"""The one check that a manifest's parts are made of: it holds, or the bundle is refused."""

from __future__ import annotations

from lsts_edge.errors import ManifestError

__all__ = ["check"]


def check(holds: bool, problem: str, got: object, expected: str) -> None:
    """Refuse the manifest unless ``holds``.

    Raises:
        ManifestError: with the problem, what was got and what was expected.
    """
    if not holds:
        fix = "Export the bundle again with this version of lsts-edge."
        raise ManifestError(f"manifest: {problem}", got=got, expected=expected, fix=fix)
