"""Reads somebody's ONNX file: bounded, walked before any library sees it, brought to the opset that we write."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import onnx.version_converter

from lsts_edge.bundle.onnx_bytes import check_onnx_bytes
from lsts_edge.errors import BundleError, DetectorRefused
from lsts_edge.export.finished import OPSET

__all__ = ["MAX_DETECTOR_BYTES", "read_detector"]

MAX_DETECTOR_BYTES = 512 << 20
_OPSETS = range(8, 22)  # what the converter takes, and what ONNX Runtime 1.20 runs


def read_detector(source: Path | bytes) -> onnx.ModelProto:
    """The model in a file, or in bytes already read.

    A model of an older opset is converted to ours; a newer one keeps its own. Nothing outside the file is opened.

    Args:
        source: the file, at most ``MAX_DETECTOR_BYTES``.

    Raises:
        DetectorRefused: if there is no such file, it is too large, no valid ONNX, points outside itself, or needs
            operators that are not standard.
    """
    name = source.name if isinstance(source, Path) else "the model"
    raw = _bounded(source) if isinstance(source, Path) else source
    if len(raw) > MAX_DETECTOR_BYTES:
        raise _refused(name, f"more than {MAX_DETECTOR_BYTES} bytes", "a smaller file", "Export a smaller detector.")
    try:
        check_onnx_bytes(raw, name)
        model = onnx.load_model_from_string(raw)
        onnx.checker.check_model(model)
    except BundleError as error:
        fix = "Export the detector again, as one plain ONNX file with its weights inside."
        raise _refused(name, error.got, error.expected, fix) from error
    except Exception as error:  # protobuf's and the checker's errors share no base class
        raise _refused(name, _short(error), "valid ONNX", "Export the detector again.") from error
    return _in_our_opset(model, name)


def _bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DETECTOR_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refused(str(path), reason, "a readable .onnx file", "Give the detector's file.") from error


def _in_our_opset(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if foreign:
        fix = "Export the detector without them; suppression and decoding may be left out."
        raise _refused(name, f"operators of {foreign[0][:60]}", "standard operators only", fix)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    expected = f"opset {_OPSETS.start} to {_OPSETS.stop - 1}"
    if opset not in _OPSETS:
        raise _refused(name, f"opset {opset}", expected, f"Export the detector in opset {OPSET}.")
    if opset >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(converted)
    except Exception as error:  # the converter's errors share no base class
        got = f"opset {opset}, and its conversion says: {_short(error)}"
        raise _refused(name, got, f"opset {OPSET}", f"Export the detector in opset {OPSET}.") from error
    return converted


def _short(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:200].strip() or type(error).__name__


def _refused(name: str, got: object, expected: object, fix: str) -> DetectorRefused:
    return DetectorRefused(f"detector {name} is refused", got=got, expected=expected, fix=fix)
