"""One session for the same bytes, so that several programs, or contestants, share a network's memory."""

from __future__ import annotations

from lsts_edge.bundle import Model
from lsts_edge.runtime.engines.interface import Backend, Session, model_digest

__all__ = ["LoadsOnce"]


class LoadsOnce:
    """A backend that gives the session it has where the bytes are the same.

    Args:
        backend: the engine.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sessions: dict[str, Session] = {}
        self.name, self.provider, self.version = backend.name, backend.provider, backend.version
        self.tensors = backend.tensors

    def load(self, model: Model, name: str) -> Session:
        """The session of these bytes, loaded at the first call."""
        key = model_digest(model)
        if key not in self._sessions:
            self._sessions[key] = self._backend.load(model, name)
        return self._sessions[key]
