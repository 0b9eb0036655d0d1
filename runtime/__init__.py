"""Video in, boxes out, on any supported engine: ``Detector(bundle).push(frame)``. Needs neither torch nor onnx."""

from __future__ import annotations

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.frames import Frame, Source
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.scheduler import FixedInterval, Scheduler
from lsts_edge.runtime.sources import open_source

__all__ = ["Detections", "Detector", "FixedInterval", "Frame", "Pipeline", "Scheduler", "Source", "open_source"]
