"""OpenVINO behind the session interface: ONNX or IR, on CPU, GPU or AUTO, float32 unless told otherwise."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from lsts_edge.bundle import Model, OpenVinoIr
from lsts_edge.errors import OpLibraryProvider, OptionError, ProviderError, ProviderUnavailable

__all__ = ["OpenVinoBackend"]

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "auto": "AUTO"}
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class _OpenVinoSession:
    def __init__(self, compiled: Any, name: str) -> None:
        self._compiled = compiled
        self._name = name
        self._local = threading.local()  # an infer request serves one thread at a time
        self.inputs = tuple(port.get_any_name() for port in compiled.inputs)
        # A port has all the names its tensor had on the way through the optimiser, the graph's own among them.
        self._places = {name: place for place, port in enumerate(compiled.outputs) for name in port.get_names()}
        self.outputs = tuple(self._places)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        try:
            # Copied in and out: with shared inputs a later request may write to the caller's array.
            values = request.infer(dict(feeds), share_inputs=False, share_outputs=False)
        except Exception as error:
            raise ProviderError(
                f"graph {self._name} failed in OpenVINO",
                got=_last_line(error),
                expected="the inputs its manifest names",
                fix="Check the frame's size; run lsts-edge verify on the bundle.",
            ) from error
        return {name: values[place] for name, place in self._places.items()}


class OpenVinoBackend:
    """Loads ONNX or IR graphs into OpenVINO on one device with the latency hint."""

    name = "openvino"

    def __init__(
        self,
        provider: str = "cpu",
        *,
        threads: int | None = None,
        precision: str = "fp32",
        cache_dir: Path | None = None,
        custom_op: bool = False,
    ) -> None:
        """Check that the device exists on this machine.

        Raises:
            OptionError: if the precision is unknown.
            OpLibraryError: if the op is asked for and its library is missing or does not fit.
            ProviderUnavailable: if OpenVINO sees no such device, or the device has no such precision.
        """
        if precision not in _PRECISIONS:
            expected = ", ".join(_PRECISIONS)
            raise OptionError("precision of OpenVINO", got=repr(precision), expected=expected, fix="Choose one.")
        self.provider = provider
        self.version: str = openvino.__version__
        self._core = openvino.Core()
        devices = self._core.available_devices
        wanted = _DEVICES[provider]
        if wanted != "AUTO" and not any(device.split(".")[0] == wanted for device in devices):
            raise ProviderUnavailable(
                f"OpenVINO sees no {wanted} device",
                got=", ".join(devices),
                expected=wanted,
                fix="Use --provider cpu, or install the device's driver.",
            )
        self._refuse_other_precision(wanted, precision)
        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        }
        if threads is not None and provider != "gpu":
            self._config["INFERENCE_NUM_THREADS"] = threads
        if cache_dir is not None:
            self._config["CACHE_DIR"] = str(cache_dir)
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
                fix="Use --lsts-form taps.",
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
            compiled = self._core.compile_model(graph, _DEVICES[self.provider], self._config)
        except Exception as error:
            raise ProviderError(
                f"OpenVINO {self.version} does not load graph {name}",
                got=_last_line(error),
                expected="a graph it can run",
                fix="Use a newer OpenVINO, or --backend onnxruntime.",
            ) from error
        return _OpenVinoSession(compiled, name)

    def _read(self, model: Model) -> Any:
        if not isinstance(model, OpenVinoIr):
            return self._core.read_model(io.BytesIO(model))
        # With a tensor beside it, bytes are taken for the XML itself and never for a path.
        return self._core.read_model(model.xml, openvino.Tensor(np.frombuffer(model.weights, np.uint8)))


def _last_line(error: BaseException) -> str:
    """OpenVINO's message ends with the reason; the lines before are its source places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
