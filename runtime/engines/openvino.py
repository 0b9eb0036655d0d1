"""OpenVINO behind the session interface: ONNX or IR, on CPU, GPU or AUTO, float32 unless told otherwise."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino

from lsts_edge.bundle import Model, OpenVinoIr
from lsts_edge.errors import OpLibraryProvider, ProviderError, ProviderUnavailable
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.signal_stack import kept_signal_stack
from lsts_edge.runtime.engines.tensors import Tensor, Tensors, arrays_finite

__all__ = ["OpenVinoBackend"]

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "auto": "AUTO"}
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class _OpenVinoTensors(Tensors):
    """``openvino.Tensor``s in the host's memory, which arrays share; a GPU copies them itself."""

    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        return arrays_finite(tensor.data for tensor in tensors)

    def _put(self, array: np.ndarray) -> Tensor:
        array = np.asarray(array, order="C")
        return openvino.Tensor(array, shared_memory=array.flags.writeable)  # of others it takes a copy only

    def _get(self, tensor: Tensor) -> np.ndarray:
        return np.asarray(tensor.data)


class _OpenVinoSession(Session):
    def __init__(self, compiled: Any, name: str, tensors: _OpenVinoTensors) -> None:
        self._compiled = compiled
        self._name = name
        self.tensors = tensors
        self._local = threading.local()  # an infer request serves one thread at a time
        # A port has all the names its tensor had on the way through the optimiser, the graph's own among them.
        self._inputs = {name: place for place, port in enumerate(compiled.inputs) for name in port.get_names()}
        self._places = {name: place for place, port in enumerate(compiled.outputs) for name in port.get_names()}
        self.inputs = tuple(self._inputs)
        self._sizes = [
            (port.get_element_type(), port.get_shape() if port.get_partial_shape().is_static else None)
            for port in compiled.outputs
        ]
        self.outputs = tuple(self._places)

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        try:
            values = self._run(request, feeds)
        except Exception as error:
            raise ProviderError(
                f"graph {self._name} failed in OpenVINO",
                got=_last_line(error),
                expected="the inputs its manifest names",
                fix="Check the frame's size; run lsts-edge verify on the bundle.",
            ) from error
        return {name: values[place] for name, place in self._places.items()}

    def _run(self, request: Any, feeds: Mapping[str, Tensor]) -> list[Tensor]:
        """Inputs are lent to the request and outputs are new: it never writes where an earlier result is."""
        for name, tensor in feeds.items():
            request.set_input_tensor(self._inputs[name], tensor)
        for place, (kind, shape) in enumerate(self._sizes):
            if shape is not None:
                request.set_output_tensor(place, openvino.Tensor(kind, shape))
        request.infer()
        return [
            request.get_output_tensor(place)
            if shape is not None
            else openvino.Tensor(request.get_output_tensor(place).data)  # the request's own, used again: copied
            for place, (_, shape) in enumerate(self._sizes)
        ]


class OpenVinoBackend:
    """Loads ONNX or IR graphs into OpenVINO on one device with the latency hint."""

    name = "openvino"

    def __init__(self, options: EngineOptions, *, custom_op: bool = False) -> None:
        """Check that the device exists on this machine.

        Raises:
            OpLibraryError: if the op is asked for and its library is missing or does not fit.
            ProviderUnavailable: if OpenVINO sees no such device, or the device has no such precision.
        """
        provider, threads = options.provider, options.threads
        self.provider = provider
        self.version: str = openvino.__version__
        self.tensors = _OpenVinoTensors()
        self._core = openvino.Core()
        with kept_signal_stack():
            devices = self._core.available_devices
        wanted = _DEVICES[provider]
        if wanted != "AUTO" and not any(device.split(".")[0] == wanted for device in devices):
            raise ProviderUnavailable(
                f"OpenVINO sees no {wanted} device",
                got=", ".join(devices),
                expected=wanted,
                fix="Use --provider cpu, or install the device's driver.",
            )
        self._refuse_other_precision(wanted, options.precision)
        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[options.precision],
        }
        if threads is not None and provider != "gpu":
            self._config["INFERENCE_NUM_THREADS"] = threads
        if options.cache_dir is not None:
            self._config["CACHE_DIR"] = str(options.cache_dir)
        if custom_op:
            self._add_custom_op(threads)

    def _refuse_other_precision(self, device: str, precision: str) -> None:
        """OpenVINO takes a precision the device lacks as a hint, and computes in float32 without a word."""
        if precision == "fp32" or device == "AUTO":
            return
        able = self._core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if precision.upper() not in able:
            raise ProviderUnavailable(
                f"precision {precision} of OpenVINO's {device} device",
                got=", ".join(able),
                expected=precision.upper(),
                fix="Use --precision fp32, or a processor that has it (bf16: AVX-512 or AMX; fp16: AMX-FP16, Arm).",
            )

    def _add_custom_op(self, threads: int | None) -> None:
        if self.provider != "cpu":
            raise OpLibraryProvider(
                "the compiled LSTS op inside OpenVINO",
                got=f"provider {self.provider}",
                expected="provider cpu",
                fix="Use --provider cpu.",
            )
        from lsts_edge.custom_ops.finder import library_path
        from lsts_edge.custom_ops.openvino_op import openvino_extension

        library_path()  # raises here, not in the middle of reading a graph
        self._extension = openvino_extension(threads)  # owns the operations: lives as long as the core
        self._core.add_extension(self._extension)

    def load(self, model: Model, name: str) -> _OpenVinoSession:
        """Compile the model's bytes for the device.

        Raises:
            ProviderError: if OpenVINO refuses the model.
        """
        try:
            graph = self._read(model)
            with kept_signal_stack():
                compiled = self._core.compile_model(graph, _DEVICES[self.provider], self._config)
        except Exception as error:
            raise ProviderError(
                f"OpenVINO {self.version} does not load graph {name}",
                got=_last_line(error),
                expected="a graph it can run",
                fix="Use a newer OpenVINO, or --backend onnxruntime.",
            ) from error
        return _OpenVinoSession(compiled, name, self.tensors)

    def _read(self, model: Model) -> Any:
        if not isinstance(model, OpenVinoIr):
            return self._core.read_model(io.BytesIO(model))
        # With a tensor beside it, bytes are taken for the XML itself and never for a path.
        return self._core.read_model(model.xml, openvino.Tensor(np.frombuffer(model.weights, np.uint8)))


def _last_line(error: BaseException) -> str:
    """OpenVINO's message ends with the reason; the lines before are its source places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
