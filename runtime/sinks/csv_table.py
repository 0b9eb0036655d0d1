"""Results as a table, a row a box, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from typing import ClassVar

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.text import TextSink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["CsvSink"]

_COLUMNS = (
    "frame",
    "time_s",
    "kind",
    "label",
    "score",
    "x1_px",
    "y1_px",
    "x2_px",
    "y2_px",
    "moved",
    "track_id",
    "file",
)


class CsvSink(TextSink):
    """RFC 4180 with a header; ``moved`` is 0 or 1, ``track_id`` and ``file`` are empty where there is none."""

    stage: ClassVar[str] = "csv"

    def beginning(self) -> str:
        """The header."""
        return _line(_COLUMNS)

    def text(self, frame: Frame, detections: Detections) -> str:
        """The frame's rows."""
        time_s = "" if detections.time_s is None else round(detections.time_s, 6)
        file = "" if detections.file is None else detections.file.encode("utf-8", "backslashreplace").decode()
        boxes = zip(
            detections.label_names,
            detections.scores.tolist(),
            detections.boxes_xyxy_px.tolist(),
            detections.moved.tolist(),
            detections.track_ids.tolist(),
            strict=True,
        )
        return "".join(
            _line(
                (
                    detections.frame,
                    time_s,
                    detections.kind,
                    label,
                    round(score, 5),
                    *(round(side, 2) for side in box),
                    int(moved),
                    "" if track < 0 else track,
                    file,
                )
            )
            for label, score, box, moved, track in boxes
        )


def _line(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()
