"""From a checkpoint to a published bundle, on the workstation: export, compare with torch, lower, write."""

from __future__ import annotations

__all__: list[str] = []
