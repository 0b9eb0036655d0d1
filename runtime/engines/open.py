"""Open an inference engine by its name: the provider asked for is the one used, or one clear error."""

from __future__ import annotations

import importlib.util

from lsts_edge.errors import ProviderMissing
from lsts_edge.runtime.engines.installed import onnxruntime_packages
from lsts_edge.runtime.engines.interface import INSTALL_LINES, Backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["open_backend"]


def open_backend(options: EngineOptions | None = None, *, custom_op: bool = False) -> Backend:
    """Open the engine that ``options`` name; nothing is loaded yet but the engine's package.

    Args:
        options: engine, provider and settings; None takes ONNX Runtime on the CPU.
        custom_op: register the compiled LSTS op, which graphs of the form ``custom`` need.

    Returns:
        The engine; the one in ``options`` where that is open already.

    Raises:
        ProviderMissing: if the engine is not installed, or two ONNX Runtime packages overwrite each other.
        ProviderUnavailable: if this machine does not give that provider.
        OpLibraryError: if the op is asked for and its library is missing or does not fit.
    """
    options = options or EngineOptions()
    if not isinstance(options.backend, str):
        return options.backend
    if options.backend == "openvino":
        _require_package("openvino")
        from lsts_edge.runtime.engines.openvino import OpenVinoBackend

        return OpenVinoBackend(options, custom_op=custom_op)
    _refuse_two_onnxruntimes()
    _require_package("onnxruntime")
    from lsts_edge.runtime.engines.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(options, custom_op=custom_op)


def _require_package(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ProviderMissing(
            f"no inference engine {package}", got="no such package", expected="an engine", fix=INSTALL_LINES
        )


def _refuse_two_onnxruntimes() -> None:
    """The packages write into one folder: the last one installed wins, and removing one breaks the other."""
    found = onnxruntime_packages()
    if len(found) > 1:
        raise ProviderMissing(
            "two ONNX Runtime packages share one folder",
            got=" and ".join(f"{name} {version}" for name, version in found.items()),
            expected="one of them",
            fix=f"pip uninstall {' '.join(found)}, then install one. {INSTALL_LINES}",
        )
