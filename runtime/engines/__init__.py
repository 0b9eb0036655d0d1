"""Inference engines behind one interface: ``open_backend(EngineOptions("openvino")).load(model, name).run(feeds)``."""

from __future__ import annotations

from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["Backend", "EngineOptions", "Session", "open_backend"]
