"""Results as a COCO result file, which pycocotools and most evaluation tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from lsts_edge.coco import coco_category_ids
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.socket_address import SocketAddress
from lsts_edge.runtime.sinks.text import TextSink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["CocoSink"]


class CocoSink(TextSink):
    """A JSON list of ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels) and ``score``.

    ``image_id`` is the frame's index from 0. ``category_id`` is COCO's own where the classes are COCO's 80, else the
    label's index from 1.
    """

    stage: ClassVar[str] = "coco"

    def __init__(self, path: Path | str | SocketAddress, classes: Sequence[str], *, recoverable: bool = False) -> None:
        """Check the path.

        Args:
            path: as ``TextSink`` takes it.
            classes: the model's, by label.
            recoverable: likewise.
        Raises:
            FileUnwritable: if nothing can be written there.
        """
        super().__init__(path, recoverable=recoverable)
        self._category_ids = coco_category_ids(classes)
        self._before = "\n"

    def beginning(self) -> str:
        """The list begins."""
        return "["

    def text(self, frame: Frame, detections: Detections) -> str:
        """An entry a box."""
        entries = []
        for entry in detections.boxes.to_coco(detections.frame, self._category_ids):
            rounded = entry | {"bbox": [round(side, 2) for side in entry["bbox"]], "score": round(entry["score"], 5)}
            entries.append(self._before + json.dumps(rounded, allow_nan=False))
            self._before = ",\n"
        return "".join(entries)

    def ending(self) -> str:
        """The list ends."""
        return "\n]\n"
