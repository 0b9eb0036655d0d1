"""What the detector says about one frame."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.errors import ShapeError
from lsts_edge.runtime.timings import Timings

__all__ = ["Detections"]


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes of one frame, best score first, and how they came about.

    Attributes:
        frame: index of the frame in its stream, from 0.
        time_s: its time stamp, None where the source gives none.
        kind: ``first``, ``keyframe`` or ``propagated``.
        feature_age: frames since the keyframe whose memory was used (centred: or until it); 0 on a keyframe.
        boxes: the D boxes in frame pixels, corners as edges.
        label_names: the D class names.
        moved: ``(D,)`` bool: True for a box that was carried here from an earlier frame, not detected in this one.
        reset_reason: why the memory was dropped before this frame, None where it was not.
        damaged: the decoder says that this picture may be wrong; it did not enter the memory.
        reconnects: how often the source has been lost and found again so far.
        why: what made the frame a keyframe or not.
        timings: milliseconds of the graphs and of the stages around them.
        file: name of the frame's own file, None where a file holds many frames.
        track_ids: ``(D,)`` int64, the same number for the same object from frame to frame; -1 where nobody says.
    """

    frame: int
    time_s: float | None
    kind: FrameKind
    feature_age: int
    boxes: Boxes
    label_names: tuple[str, ...]
    reset_reason: str | None = None
    damaged: bool = False
    why: str = ""
    timings: Timings = field(default_factory=Timings)
    reconnects: int = 0
    moved: np.ndarray = None  # type: ignore[assignment]  # all False, which needs D
    file: str | None = None
    track_ids: np.ndarray = None  # type: ignore[assignment]  # all -1, which needs D

    def __post_init__(self) -> None:
        if self.moved is None:
            object.__setattr__(self, "moved", np.zeros(len(self.boxes), bool))
        if self.track_ids is None:
            object.__setattr__(self, "track_ids", np.full(len(self.boxes), -1, np.int64))
        shapes = {(len(self.boxes),), (len(self.label_names),), self.moved.shape, self.track_ids.shape}
        if len(shapes) != 1:
            raise ShapeError(
                "detections",
                got=f"{len(self.boxes)} boxes, {len(self.label_names)} label names, moved of shape {self.moved.shape}, "
                f"track ids of shape {self.track_ids.shape}",
                expected="as many of each",
                fix="Give a name, a flag and a number for each box.",
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: np.ndarray) -> Detections:
        """The same frame with some of the boxes: ``(D,)`` bool, or indices."""
        indices = np.arange(len(self))[keep]
        return dataclasses.replace(
            self,
            boxes=self.boxes.select(indices),
            label_names=tuple(self.label_names[index] for index in indices.tolist()),
            moved=self.moved[indices],
            track_ids=self.track_ids[indices],
        )

    @property
    def boxes_xyxy_px(self) -> np.ndarray:
        """``(D, 4)`` float32, frame pixels, ``x2 = x1 + width``."""
        return self.boxes.xyxy_px

    @property
    def scores(self) -> np.ndarray:
        """``(D,)`` float32, 0 to 1."""
        return self.boxes.scores

    @property
    def labels(self) -> np.ndarray:
        """``(D,)`` int64, index of the class."""
        return self.boxes.labels

    @property
    def total_ms(self) -> float:
        """Time from frame to boxes."""
        return self.timings.total_ms

    def to_row(self) -> dict[str, Any]:
        """JSON-ready row: ``frame``, ``time_s``, ``kind``, ``feature_age``, ``detections``.

        Where there is something to say: ``file``, ``reset``, ``reconnects``.
        A detection has ``label``, ``score``, ``box_xyxy_px`` and, likewise, ``moved`` and ``track_id``.
        """
        row: dict[str, Any] = {
            "frame": int(self.frame),
            "time_s": None if self.time_s is None or not isfinite(self.time_s) else round(float(self.time_s), 6),
            "kind": self.kind,
            "feature_age": int(self.feature_age),
            "detections": [
                {"label": label, "score": round(score, 5), "box_xyxy_px": [round(side, 2) for side in box]}
                | ({"moved": True} if moved else {})
                | ({"track_id": track} if track >= 0 else {})
                for label, score, box, moved, track in zip(
                    self.label_names,
                    self.scores.tolist(),
                    self.boxes_xyxy_px.tolist(),
                    self.moved.tolist(),
                    self.track_ids.tolist(),
                    strict=True,
                )
            ],
        }
        if self.file is not None:
            row["file"] = self.file
        if self.reset_reason is not None:
            row["reset"] = self.reset_reason
        if self.reconnects:
            row["reconnects"] = self.reconnects
        return row
