"""One picture of a run: keyframes in the first column, frames propagated from them beside each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from lsts_edge.errors import OptionError
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.drawing import annotate
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["ContactSheetSink", "row_starts", "shown_ages"]

_FONT = cv2.FONT_HERSHEY_DUPLEX
_PAPER, _INK, _ACCENT = (250, 250, 250), (40, 40, 40), (0, 110, 230)
_GAP_PX, _CAPTION_PX, _TITLE_PX = 12, 30, 48


def row_starts(frame_count: int, interval: int, rows: int) -> list[int]:
    """Frames after which the next keyframe begins a row: the middle of each part of the clip.

    Args:
        frame_count: length of the clip.
        interval: frames from one keyframe to the next, at most.
        rows: at least 1; fewer are made of a short clip.
    """
    segments = max(1, frame_count // interval)  # whole ones
    count = min(rows, segments)
    return [int(start) for start in ((np.arange(count) + 0.5) * segments / count).astype(int) * interval]


def shown_ages(interval: int, columns: int) -> list[int]:
    """Frames since the keyframe of those that a row shows, the keyframe first."""
    return [int(age) for age in np.unique(np.linspace(0, interval - 1, min(columns, interval)).round())]


class ContactSheetSink(Sink):
    """A PNG of chosen frames with their boxes, each captioned with its number, kind and time."""

    def __init__(
        self,
        path: Path,
        *,
        title: str,
        frame_count: int,
        interval: int,
        rows: int = 4,
        columns: int = 4,
        tile_width_px: int = 400,
    ) -> None:
        """Choose the frames; small copies of them are kept until the end.

        Args:
            path: ends in .png.
            title: written above.
            frame_count: length of the clip, as far as known.
            interval: frames from one keyframe to the next, at most.
            rows: keyframes shown.
            columns: frames shown from each keyframe to the next, at most.
            tile_width_px: width of one picture.
        Raises:
            OptionError: if the path does not end in .png.
            FileUnwritable: if nothing can be written there.
        """
        super().__init__()
        if path.suffix.lower() != ".png":
            raise OptionError("contact sheet", got=path.name, expected="a name ending in .png", fix="Rename it.")
        self._target = PartialFile(path)
        self._title = title
        self._ages = shown_ages(min(interval, max(frame_count, 1)), columns)
        self._starts = row_starts(frame_count, interval, rows)
        self._tile_width_px = tile_width_px
        self._rows: list[list[np.ndarray]] = []
        self._in_row = False

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the frame if it is one of those chosen."""
        if detections.kind != "propagated":
            self._in_row = bool(self._starts) and frame.index >= self._starts[0]
            if self._in_row:
                self._rows.append([])
                self._starts = [start for start in self._starts if start > frame.index]
        if self._in_row and detections.feature_age in self._ages:
            self._rows[-1].append(self._tile(frame.image, detections))

    def finish(self) -> None:
        """Lay out and write the picture; without a frame nothing is written.

        Raises:
            FileUnwritable: if the file cannot be written.
        """
        if not self._rows:
            return
        encoded = cv2.imencode(".png", self._sheet())[1]
        try:
            self._target.create().write_bytes(encoded.tobytes())
        except OSError as error:
            raise self._target.unwritable(error.strerror or str(error)) from error

    def publish(self) -> None:
        """Give the file its name.

        Raises:
            FileUnwritable: if that fails.
        """
        if not self._rows:
            return
        self._target.publish()

    def settle(self) -> None:
        """Let an older file go."""
        self._target.settle()

    def abandon(self) -> None:
        """Remove what was written; an older file stays."""
        self._target.discard()

    def _tile(self, picture: np.ndarray, detections: Detections) -> np.ndarray:
        width = self._tile_width_px
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        tile = np.full((height + _CAPTION_PX, width, 3), _PAPER, np.uint8)
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        boxes = dataclasses.replace(detections.boxes, xyxy_px=detections.boxes_xyxy_px * (width / picture.shape[1]))
        tile[:height] = annotate(small, dataclasses.replace(detections, boxes=boxes), tag=False)
        propagated = detections.kind == "propagated"
        kind = f"propagated +{detections.feature_age}" if propagated else detections.kind
        caption = f"{detections.frame}: {kind}, {detections.total_ms:.1f} ms"
        color = _INK if propagated else _ACCENT
        cv2.putText(tile, caption, (2, height + 21), _FONT, 0.5, color, 1, cv2.LINE_AA)
        return tile

    def _sheet(self) -> np.ndarray:
        height = max(tile.shape[0] for row in self._rows for tile in row)
        step_y, step_x = height + _GAP_PX, self._tile_width_px + _GAP_PX
        size = (_TITLE_PX + len(self._rows) * step_y, len(self._ages) * step_x + _GAP_PX, 3)
        sheet = np.full(size, _PAPER, np.uint8)
        cv2.putText(sheet, self._title, (_GAP_PX, 32), _FONT, 0.7, _INK, 1, cv2.LINE_AA)
        for down, row in enumerate(self._rows):
            for along, tile in enumerate(row):
                top, left = _TITLE_PX + down * step_y, _GAP_PX + along * step_x
                sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return sheet
