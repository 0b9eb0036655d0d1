"""Reads somebody's ONNX detector, says what it is, and makes a graph of our own kind of it. Needs no torch."""

from __future__ import annotations

from lsts_edge.export.detectors.names import class_names
from lsts_edge.export.detectors.read import read_detector
from lsts_edge.export.detectors.recognise import recognise
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.spec import DetectorSpec, read_spec_file
from lsts_edge.export.detectors.wrap import wrap_detector

__all__ = [
    "DetectorSpec",
    "class_names",
    "read_detector",
    "read_spec_file",
    "recognise",
    "resized",
    "wrap_detector",
]
