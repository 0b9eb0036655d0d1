"""Which packages bring an engine, by their metadata: nothing is imported, and two that share a folder are seen."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

__all__ = ["onnxruntime_packages", "opencv_packages"]

_ONNXRUNTIMES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm",
    "onnxruntime-migraphx", "onnxruntime-qnn", "onnxruntime-training", "onnxruntime-training-cpu", "ort-nightly",
    "ort-nightly-gpu",
)  # fmt: skip
_OPENCVS = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


def onnxruntime_packages() -> dict[str, str]:
    """Name -> version of the installed packages that write into the folder ``onnxruntime``; one is right."""
    return _installed(_ONNXRUNTIMES)


def opencv_packages() -> dict[str, str]:
    """Name -> version of the installed packages that write into the folder ``cv2``; one is right."""
    return _installed(_OPENCVS)


def _installed(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
