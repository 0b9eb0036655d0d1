"""A data set that is rendered: figures of simple shapes in motion, with exact boxes; everything is made here."""

from __future__ import annotations

__all__: list[str] = []
