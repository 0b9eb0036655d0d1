"""Which engines and packages are installed: nothing is imported, and two packages that share a folder are seen."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence

from lsts_edge.runtime.engines.interface import BACKENDS

__all__ = ["installed_engines", "installed_versions", "onnxruntime_packages", "opencv_packages"]

_ONNXRUNTIMES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm",
    "onnxruntime-migraphx", "onnxruntime-qnn", "onnxruntime-training", "onnxruntime-training-cpu", "ort-nightly",
    "ort-nightly-gpu",
)  # fmt: skip
_OPENCVS = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


def installed_engines() -> tuple[str, ...]:
    """Names of the engines whose package is here, in the order of ``BACKENDS``."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def onnxruntime_packages() -> dict[str, str]:
    """Name -> version of the installed packages that write into the folder ``onnxruntime``; one is right."""
    return installed_versions(_ONNXRUNTIMES)


def opencv_packages() -> dict[str, str]:
    """Name -> version of the installed packages that write into the folder ``cv2``; one is right."""
    return installed_versions(_OPENCVS)


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Name -> version of those of these packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
