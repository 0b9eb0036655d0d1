"""What the detector says about one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lsts_edge.runtime.pipeline import Kind

__all__ = ["Detections"]


@dataclass(frozen=True)
class Detections:
    """The boxes of one frame, best score first, and how they came about.

    Attributes:
        frame: index of the frame in its stream, from 0.
        time_s: its time stamp, None where the source gives none.
        kind: ``first``, ``keyframe`` or ``propagated``.
        feature_age: frames since the keyframe whose memory was used; 0 on a keyframe.
        boxes_xyxy_px: ``(D, 4)`` float32, frame pixels, both corners inside the box.
        scores: ``(D,)`` float32, 0 to 1.
        labels: ``(D,)`` int64, index of the class.
        label_names: the D class names.
        reset_reason: why the memory was dropped before this frame, None where it was not.
        damaged: the decoder says that this picture may be wrong; it did not enter the memory.
        why: what made the frame a keyframe or not.
        timings_ms: milliseconds by stage: ``preprocess``, each graph, ``postprocess``.
    """

    frame: int
    time_s: float | None
    kind: Kind
    feature_age: int
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    reset_reason: str | None = None
    damaged: bool = False
    why: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def total_ms(self) -> float:
        """Time from frame to boxes."""
        return sum(self.timings_ms.values())

    def to_row(self) -> dict[str, Any]:
        """JSON-ready row: ``frame``, ``time_s``, ``kind``, ``feature_age``, ``detections``, and ``reset`` if any."""
        row: dict[str, Any] = {
            "frame": self.frame,
            "time_s": None if self.time_s is None else round(self.time_s, 6),
            "kind": self.kind,
            "feature_age": self.feature_age,
            "detections": [
                {"label": label, "score": round(score, 5), "box_xyxy_px": [round(side, 2) for side in box]}
                for label, score, box in zip(
                    self.label_names, self.scores.tolist(), self.boxes_xyxy_px.tolist(), strict=True
                )
            ],
        }
        if self.reset_reason is not None:
            row["reset"] = self.reset_reason
        return row
