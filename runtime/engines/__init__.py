"""Inference engines behind one interface: ``open_backend(name, provider).load(model).run(feeds)``."""

from __future__ import annotations

from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.open import open_backend

__all__ = ["Backend", "Session", "open_backend"]
