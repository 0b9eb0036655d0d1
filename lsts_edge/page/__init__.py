"""Pages that stand alone: HTML with its pictures inside, for light and dark, for wide and narrow screens."""

from __future__ import annotations

__all__: list[str] = []
