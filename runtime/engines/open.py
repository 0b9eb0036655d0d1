"""Open an inference engine by its name: the provider asked for is the one used, or one clear error."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from lsts_edge.errors import OptionError, ProviderMissing
from lsts_edge.runtime.engines.interface import BACKENDS, INSTALL_LINES, Backend

__all__ = ["open_backend"]


def open_backend(
    name: str = "onnxruntime",
    provider: str = "cpu",
    *,
    threads: int | None = None,
    precision: str = "fp32",
    cache_dir: Path | None = None,
    custom_op: bool = False,
) -> Backend:
    """Choose an engine and a provider; nothing is loaded yet but the engine's package.

    Args:
        name: ``onnxruntime`` or ``openvino``.
        provider: ``cpu``, ``cuda`` or ``tensorrt``; with OpenVINO ``cpu``, ``gpu`` or ``auto``.
        threads: threads inside an operator, at least 1; None leaves the choice to the engine.
        precision: OpenVINO's inference precision, ``fp32``, ``bf16`` or ``fp16``; ONNX Runtime computes what the
            graph says and takes ``fp32`` only.
        cache_dir: where OpenVINO or TensorRT may keep compiled graphs; None keeps none.
        custom_op: register the compiled LSTS op, which graphs of the form ``custom`` need.

    Raises:
        OptionError: if a name or number is not one of those above.
        ProviderMissing: if the engine is not installed, or two ONNX Runtime packages overwrite each other.
        ProviderUnavailable: if this machine does not give that provider.
        OpLibraryError: if the op is asked for and its library is missing or does not fit.
    """
    if name not in BACKENDS:
        raise OptionError("unknown backend", got=repr(name), expected=", ".join(BACKENDS), fix="Choose one of these.")
    if provider not in BACKENDS[name]:
        expected = ", ".join(BACKENDS[name])
        raise OptionError(f"unknown provider of {name}", got=repr(provider), expected=expected, fix="Choose one.")
    if threads is not None and not 1 <= threads <= 1024:
        raise OptionError("threads", got=threads, expected="1..1024", fix="Leave it out for the engine's choice.")
    if name == "openvino":
        _require_package("openvino")
        from lsts_edge.runtime.engines.openvino import OpenVinoBackend

        return OpenVinoBackend(provider, threads=threads, precision=precision, cache_dir=cache_dir, custom_op=custom_op)
    if precision != "fp32":
        raise OptionError(
            "precision of ONNX Runtime",
            got=repr(precision),
            expected="fp32",
            fix="Export at that precision.",
        )
    _refuse_two_onnxruntimes()
    _require_package("onnxruntime")
    from lsts_edge.runtime.engines.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(provider, threads=threads, cache_dir=cache_dir, custom_op=custom_op)


def _require_package(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ProviderMissing(
            f"no inference engine {package}", got="no such package", expected="an engine", fix=INSTALL_LINES
        )


def _refuse_two_onnxruntimes() -> None:
    """Both packages write into one folder: the last one installed wins, and removing one breaks the other."""
    found = []
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        raise ProviderMissing(
            "two ONNX Runtime packages share one folder",
            got=" and ".join(found),
            expected="one of them",
            fix="pip uninstall onnxruntime onnxruntime-gpu, then install one. " + INSTALL_LINES,
        )
