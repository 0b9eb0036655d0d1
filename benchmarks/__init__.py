"""How fast, how big, how steady, on the user's own device: one harness, one JSON per run, one report."""

from __future__ import annotations

__all__: list[str] = []
