"""Results as JSON lines, one row a frame."""

from __future__ import annotations

import json
from typing import ClassVar

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.text import TextSink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["JsonLinesSink"]


class JsonLinesSink(TextSink):
    """One JSON object a line and frame: see ``Detections.to_row``."""

    stage: ClassVar[str] = "json"

    def text(self, frame: Frame, detections: Detections) -> str:
        """The frame's row."""
        return json.dumps(detections.to_row(), allow_nan=False) + "\n"
