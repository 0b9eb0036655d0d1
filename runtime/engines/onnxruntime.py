"""ONNX Runtime behind the session interface: CPU, CUDA and TensorRT, never another than the one asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from lsts_edge.bundle import Model
from lsts_edge.custom_ops.finder import library_path
from lsts_edge.errors import OpLibraryVersion, ProviderError, ProviderUnavailable
from lsts_edge.runtime.engines.finite_graph import finite_graph
from lsts_edge.runtime.engines.interface import INSTALL_LINES, Session
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor, Tensors, arrays_finite

__all__ = ["OnnxRuntimeBackend"]

logger = logging.getLogger(__name__)

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_SPIN_US = "100"  # an ONNX Runtime that does not know this limit ignores it


class _HostTensors(Tensors):
    """In the host's memory ONNX Runtime reads arrays where they are, and gives its outputs as arrays over the buffers
    that it made for them: arrays are its tensors, at no cost.
    """

    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        return arrays_finite(tensors)

    def _put(self, array: np.ndarray) -> Tensor:
        return array

    def _get(self, tensor: Tensor) -> np.ndarray:
        return np.asarray(tensor)


class _DeviceTensors(Tensors):
    """``OrtValue``s in a device's memory: only images, boxes and one number for finiteness cross the bus.

    Args:
        device: ONNX Runtime's name of it.
        load: makes a session of a graph on that device.
    """

    def __init__(self, device: str, load: Callable[[bytes], onnxruntime.InferenceSession]) -> None:
        super().__init__()
        self.device = device
        self._load = load
        self._checks: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}

    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        types = tuple(_FLOATS.get(tensor.data_type(), "") for tensor in tensors)
        floats = [tensor for tensor, dtype in zip(tensors, types, strict=True) if dtype]
        if not floats:
            return True
        dtypes = tuple(filter(None, types))
        check = self._checks.get(dtypes)
        if check is None:
            check = self._checks[dtypes] = self._load(finite_graph(dtypes))
        binding = check.io_binding()
        for index, tensor in enumerate(floats):
            binding.bind_ortvalue_input(f"x{index}", tensor)
        binding.bind_output("sum")  # in the host's memory
        check.run_with_iobinding(binding)
        return bool(np.isfinite(self.get(binding.get_outputs()[0])))

    def _put(self, array: np.ndarray) -> Tensor:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"), self.device, 0)

    def _get(self, tensor: Tensor) -> np.ndarray:
        return np.asarray(tensor.numpy())


class _OnnxRuntimeSession(Session):
    def __init__(self, session: onnxruntime.InferenceSession, name: str, tensors: _HostTensors | _DeviceTensors):
        self._session = session
        self._name = name
        self.tensors = tensors
        self.inputs = tuple(item.name for item in session.get_inputs())
        self.outputs = tuple(item.name for item in session.get_outputs())
        self._outputs = list(self.outputs)
        self._run = self._run_bound if isinstance(tensors, _DeviceTensors) else self._run_host
        self._device = tensors.device if isinstance(tensors, _DeviceTensors) else "cpu"

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            values = self._run(feeds)
        except Exception as error:  # the engine's exceptions share no base class
            raise ProviderError(
                f"graph {self._name} failed in ONNX Runtime",
                got=_first_line(error),
                expected="the inputs its manifest names",
                fix="Check the frame's size; run lsts-edge verify on the bundle.",
            ) from error
        return dict(zip(self.outputs, values, strict=True))

    def _run_host(self, feeds: Mapping[str, Tensor]) -> Sequence[Tensor]:
        return list(self._session.run(self._outputs, dict(feeds)))

    def _run_bound(self, feeds: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Outputs stay on the device. A binding used twice would write into the outputs of its last run, so each run
        has its own; the engine's arena gives it the buffers of outputs that nobody holds any more, in turn.
        """
        binding = self._session.io_binding()
        for name, tensor in feeds.items():
            binding.bind_ortvalue_input(name, tensor)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        return list(binding.get_outputs())


class OnnxRuntimeBackend:
    """Loads graphs into ONNX Runtime on one execution provider."""

    name = "onnxruntime"

    def __init__(self, options: EngineOptions, *, custom_op: bool = False) -> None:
        """Check that the provider exists on this machine.

        Raises:
            ProviderUnavailable: if the installed ONNX Runtime was built without it.
            OpLibraryError: if the op is asked for and its library is missing or does not fit.
        """
        provider = self.provider = options.provider
        self.version: str = onnxruntime.__version__
        self._threads = options.threads
        self._cache_dir = options.cache_dir
        available = onnxruntime.get_available_providers()
        if _PROVIDERS[provider] not in available:
            raise ProviderUnavailable(
                f"provider {provider} is not in the installed ONNX Runtime",
                got=", ".join(available),
                expected=_PROVIDERS[provider],
                fix="Use --provider cpu, or change the engine. " + INSTALL_LINES,
            )
        self._oplib = library_path(ort_version=self.version, provider=provider) if custom_op else None
        on_host = provider == "cpu"
        if not on_host:
            _open_cuda()
        self.tensors: _HostTensors | _DeviceTensors = (
            _HostTensors() if on_host else _DeviceTensors("cuda", self._create)
        )

    def load(self, model: Model, name: str) -> _OnnxRuntimeSession:
        """Create a session from the model's bytes, which must be ONNX.

        Raises:
            OpLibraryVersion: if the custom-op library does not fit this ONNX Runtime.
            ProviderUnavailable: if the session ends up on another provider.
            ProviderError: if ONNX Runtime refuses the model.
        """
        try:
            session = self._create(model)
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
        return _OnnxRuntimeSession(session, name, self.tensors)

    def _create(self, model: Model) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(model, self._options(), providers=self._provider_list())

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
                    fix="Build it again.",
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


@functools.cache
def _open_cuda() -> None:
    """Open the CUDA libraries that pip installed, once: nothing else puts them where ONNX Runtime's own loader looks.

    The system's are found without it. What is missing shows when a session ends up on another provider.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if preload is None:
        return
    told = io.StringIO()
    with contextlib.redirect_stdout(told):  # it prints what it does not find
        preload()
    for line in told.getvalue().splitlines():
        logger.debug("%s", line)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
