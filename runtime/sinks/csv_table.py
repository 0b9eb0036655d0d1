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
        row = detections.to_row()
        file = row.get("file", "").encode("utf-8", "backslashreplace").decode()
        return "".join(
            _line(
                (
                    *(row[name] for name in ("frame", "time_s", "kind")),
                    found["label"],
                    found["score"],
                    *found["box_xyxy_px"],
                    int(found.get("moved", False)),
                    found.get("track_id", ""),
                    file,
                )
            )
            for found in row["detections"]
        )


def _line(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()
