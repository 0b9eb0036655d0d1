"""ONNX Runtime behind the session interface: CPU, CUDA and TensorRT, never another than the one asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lsts_edge.bundle import Model
from lsts_edge.custom_ops.finder import library_path
from lsts_edge.errors import OpLibraryVersion, ProviderError, ProviderUnavailable
from lsts_edge.runtime.engines.interface import INSTALL_LINES

__all__ = ["OnnxRuntimeBackend"]

logger = logging.getLogger(__name__)

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_SPIN_US = "100"  # an ONNX Runtime that does not know this limit ignores it


class _OnnxRuntimeSession:
    def __init__(self, session: onnxruntime.InferenceSession, name: str) -> None:
        self._session = session
        self._name = name
        self.inputs = tuple(item.name for item in session.get_inputs())
        self.outputs = tuple(item.name for item in session.get_outputs())
        self._outputs = list(self.outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # the engine's exceptions share no base class
            raise ProviderError(
                f"graph {self._name} failed in ONNX Runtime",
                got=_first_line(error),
                expected="the inputs its manifest names",
                fix="Check the frame's size; run lsts-edge verify on the bundle.",
            ) from error
        return dict(zip(self.outputs, values, strict=True))


class OnnxRuntimeBackend:
    """Loads graphs into ONNX Runtime on one execution provider."""

    name = "onnxruntime"

    def __init__(
        self,
        provider: str = "cpu",
        *,
        threads: int | None = None,
        cache_dir: Path | None = None,
        custom_op: bool = False,
    ) -> None:
        """Check that the provider exists on this machine.

        Raises:
            ProviderUnavailable: if the installed ONNX Runtime was built without it.
            OpLibraryError: if the op is asked for and its library is missing or does not fit.
        """
        self.provider = provider
        self.version: str = onnxruntime.__version__
        self._threads = threads
        self._cache_dir = cache_dir
        available = onnxruntime.get_available_providers()
        if _PROVIDERS[provider] not in available:
            raise ProviderUnavailable(
                f"provider {provider} is not in the installed ONNX Runtime",
                got=", ".join(available),
                expected=_PROVIDERS[provider],
                fix="Use --provider cpu, or change the engine. " + INSTALL_LINES,
            )
        self._oplib = library_path(ort_version=self.version, provider=provider) if custom_op else None

    def load(self, model: Model, name: str) -> _OnnxRuntimeSession:
        """Create a session from the model's bytes, which must be ONNX.

        Raises:
            OpLibraryVersion: if the custom-op library does not fit this ONNX Runtime.
            ProviderUnavailable: if the session ends up on another provider.
            ProviderError: if ONNX Runtime refuses the model.
        """
        options = self._options()
        try:
            session = onnxruntime.InferenceSession(model, options, providers=self._provider_list())
        except Exception as error:
            raise ProviderError(
                f"ONNX Runtime {self.version} does not load graph {name}",
                got=_first_line(error),
                expected="a graph it can run",
                fix="Use a newer ONNX Runtime, or export the bundle again.",
            ) from error
        used = session.get_providers()
        if used[0] != _PROVIDERS[self.provider]:
            raise ProviderUnavailable(
                f"ONNX Runtime put graph {name} on another provider",
                got=used[0],
                expected=_PROVIDERS[self.provider],
                fix="Check the driver and the CUDA or TensorRT libraries, or use --provider cpu.",
            )
        return _OnnxRuntimeSession(session, name)

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors come as exceptions; warnings about shapes are noise to a user
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        # Spinning makes the steps of one run follow faster. After the run it takes the processor from whoever is next,
        # another graph's threads, the decoder, a GPU's feeder; within it a long spin keeps off the thread waited for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self.provider == "cpu" else "0")
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._oplib is not None:
            try:
                options.register_custom_ops_library(str(self._oplib))
            except Exception as error:
                raise OpLibraryVersion(
                    f"ONNX Runtime {self.version} does not take the custom-op library",
                    got=_first_line(error),
                    expected="a library built for this ONNX Runtime",
                    fix="Build it again, or use --lsts-form taps.",
                ) from error
        return options

    def _provider_list(self) -> list[Any]:
        if self.provider == "cpu":
            return [_PROVIDERS["cpu"]]
        if self.provider == "cuda":
            # Shape arithmetic and NMS bookkeeping stay on the CPU provider, as ONNX Runtime places them.
            return [(_PROVIDERS["cuda"], {"use_tf32": "0"}), _PROVIDERS["cpu"]]
        tensorrt: dict[str, str] = {}
        if self._cache_dir is not None:
            tensorrt = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(self._cache_dir)}
        return [(_PROVIDERS["tensorrt"], tensorrt), (_PROVIDERS["cuda"], {"use_tf32": "0"}), _PROVIDERS["cpu"]]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
