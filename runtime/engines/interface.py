"""What every inference engine offers, ``Backend`` and ``Session``, and the names of engines and providers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from lsts_edge.bundle import Model, OpenVinoIr
from lsts_edge.runtime.engines.tensors import Tensor, Tensors

__all__ = ["BACKENDS", "INSTALL_LINES", "Backend", "Session", "model_digest"]

BACKENDS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("cpu", "cuda", "tensorrt"),
    "openvino": ("cpu", "gpu", "auto"),
}

INSTALL_LINES = (
    "Install one engine: pip install 'lsts-edge[cpu]' (ONNX Runtime on the CPU), "
    "pip install 'lsts-edge[gpu]' (ONNX Runtime with CUDA) or pip install 'lsts-edge[openvino]'."
)


class Session(ABC):
    """A loaded graph. Safe to call from several threads at once.

    Attributes:
        inputs: names the graph reads.
        outputs: names the graph gives, which may include other names of the same tensors.
        tensors: where its tensors live.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Tensors

    @abstractmethod
    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph once on the engine's tensors, every input by name, and return every output by name.

        Outputs stay where the engine has them and are new ones: no later run writes to them, nor to the inputs, so
        that what a stream carries from frame to frame never changes under it.

        Raises:
            ProviderError: if the engine fails.
        """

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same with arrays, which go in and come out whole."""
        put, get = self.tensors.put, self.tensors.get
        values = self.run_tensors({name: put(array) for name, array in feeds.items()})
        return {name: get(value) for name, value in values.items()}


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

    @property
    def tensors(self) -> Tensors:
        """Where the tensors of its sessions live."""

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
