"""One thing that a check found: a stable code, how bad it is, what was looked at, what was there, and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lsts_edge.errors import LstsEdgeError

__all__ = ["LEVELS", "Finding", "Level", "finding_of"]

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
"""From good to bad: as it should be; worth knowing; works, but not as well as it could; does not work."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        code: stable, for scripts; ``docs/doctor.md`` lists them all.
        level: ``ok``, ``note``, ``warning`` or ``error``.
        what: the thing that was looked at, in a few words.
        got: what was there.
        fix: what to do about it, as a sentence; empty where there is nothing to do.
        facts: the same as data, for scripts.
    """

    code: str
    level: Level
    what: str
    got: str
    fix: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "code": self.code,
            "level": self.level,
            "what": self.what,
            "got": self.got,
            "fix": self.fix,
            "facts": dict(self.facts),
        }


def finding_of(error: LstsEdgeError, what: str, level: Level = "error") -> Finding:
    """An error of ours as a finding: its code, its problem and value, its fix."""
    return Finding(error.code, level, what, f"{error.problem}: {error.got}", error.fix)
