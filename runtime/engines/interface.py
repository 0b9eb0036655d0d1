"""What every inference engine offers, ``Backend`` and ``Session``, and the names of engines and providers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from lsts_edge.bundle import Model, OpenVinoIr

__all__ = ["BACKENDS", "INSTALL_LINES", "Backend", "Session", "model_digest"]

BACKENDS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("cpu", "cuda", "tensorrt"),
    "openvino": ("cpu", "gpu", "auto"),
}

INSTALL_LINES = (
    "Install one engine: pip install 'lsts-edge[cpu]' (ONNX Runtime on the CPU), "
    "pip install 'lsts-edge[gpu]' (ONNX Runtime with CUDA) or pip install 'lsts-edge[openvino]'."
)


class Session(Protocol):
    """A loaded graph. Safe to call from several threads at once."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names the graph reads."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names the graph gives, which may include other names of the same arrays."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once on ``feeds`` (every input by name) and return every output by name.

        The arrays returned belong to the caller: no later run writes to them.
        """


class Backend(Protocol):
    """An engine on one device, with its options fixed."""

    @property
    def name(self) -> str:
        """``onnxruntime`` or ``openvino``."""

    @property
    def provider(self) -> str:
        """The provider asked for, which is the one used."""

    @property
    def version(self) -> str:
        """The engine's version."""

    def load(self, model: Model, name: str) -> Session:
        """Load a graph from verified bytes, ONNX or (OpenVINO only) IR; ``name`` is for messages.

        Raises:
            ProviderUnavailable: if the engine puts the graph on another provider, or cannot load it.
        """


def model_digest(model: Model) -> str:
    """SHA-256 of a graph's bytes: equal graphs need one session."""
    if isinstance(model, OpenVinoIr):
        return hashlib.sha256(hashlib.sha256(model.xml).digest() + hashlib.sha256(model.weights).digest()).hexdigest()
    return hashlib.sha256(model).hexdigest()
