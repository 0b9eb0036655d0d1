"""Results as MOT Challenge text, which tracking tools read."""

from __future__ import annotations

from typing import ClassVar

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.text import TextSink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["MotSink"]


class MotSink(TextSink):
    """A line a box: ``frame, id, left, top, width, height, score, -1, -1, -1``.

    Frames count from 1, as there; ``id`` is the track's, -1 without one. The format has no place for a class.
    """

    stage: ClassVar[str] = "mot"

    def text(self, frame: Frame, detections: Detections) -> str:
        """The frame's lines."""
        tracks = detections.track_ids.tolist()
        lines = []
        for (x1, y1, x2, y2), score, track in zip(
            detections.boxes_xyxy_px.tolist(), detections.scores.tolist(), tracks, strict=True
        ):
            box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            lines.append(f"{detections.frame + 1},{track},{box},{score:.5f},-1,-1,-1\n")
        return "".join(lines)
