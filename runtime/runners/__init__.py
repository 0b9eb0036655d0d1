"""What runs one frame from picture to boxes: networks with their memory, or networks and moved boxes."""

from __future__ import annotations

from lsts_edge.runtime.runners.interface import Found, FrameRunner
from lsts_edge.runtime.runners.open import WAYS, open_runner

__all__ = ["WAYS", "Found", "FrameRunner", "open_runner"]
