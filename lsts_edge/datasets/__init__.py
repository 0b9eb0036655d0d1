"""Data sets as people have them, and one that is rendered, as COCO-VID style annotations: the one form read here."""

from __future__ import annotations

__all__: list[str] = []
