"""Video in, boxes out, on any supported engine: ``Detector(bundle).push(frame)``. Needs neither torch nor onnx."""

from __future__ import annotations

from lsts_edge.default_bundle import default_bundle
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Scheduler
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.open import open_source

__all__ = [
    "Detections",
    "Detector",
    "EngineOptions",
    "FixedInterval",
    "Frame",
    "Scheduler",
    "Source",
    "default_bundle",
    "open_source",
]
