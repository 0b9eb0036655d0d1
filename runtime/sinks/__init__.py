"""Where results go: JSON lines, drawn video, contact sheets; complete at their path or not there at all."""

from __future__ import annotations

from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink

__all__ = ["JsonLinesSink", "Sink", "VideoSink"]
