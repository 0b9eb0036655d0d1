"""Training: annotated videos to a checkpoint."""

from __future__ import annotations

__all__: list[str] = []
