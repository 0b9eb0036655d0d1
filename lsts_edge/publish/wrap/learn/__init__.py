"""LSTS around somebody's frozen detector: learnt from its own outputs on footage, without labels."""

from __future__ import annotations

__all__: list[str] = []
