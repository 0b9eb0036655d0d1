"""How accurate: results of ``lsts-edge evaluate``, everybody on the same video, and the study of the paper's tables."""

from __future__ import annotations

__all__: list[str] = []
