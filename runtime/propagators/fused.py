"""Boxes moved by flow and the same detector's boxes on a smaller input, as one set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lsts_edge.errors import StateError
from lsts_edge.runtime.propagators.flow_boxes import FlowBoxes, FlowBoxesOptions
from lsts_edge.runtime.propagators.interface import PropagatedBoxes, check_fraction

__all__ = ["Fused", "FusedOptions", "fuse_boxes"]


@dataclass(frozen=True)
class FusedOptions(FlowBoxesOptions):
    """How boxes are moved, and how the smaller input's boxes join them.

    Attributes:
        same_iou: a moved box and a detected one of its class that overlap as much are one object.
        new_iou: a detected box that overlaps any moved one of its class by more is not a new object.
        detected_weight: scores of the smaller input are multiplied by it.
        unseen_decay: scores of moved boxes that the smaller input did not find are multiplied by it at every frame.
    """

    same_iou: float = 0.5
    new_iou: float = 0.45
    detected_weight: float = 0.6
    unseen_decay: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "same_iou", "new_iou", "detected_weight", "unseen_decay")


def fuse_boxes(moved: PropagatedBoxes, detected: PropagatedBoxes, options: FusedOptions) -> PropagatedBoxes:
    """Join two sets of boxes of one frame.

    A moved box that was detected too goes to the mean of both, weighted by score, and keeps its score; one that was
    not loses some. A detected box that overlaps no moved one is a new object.

    Args:
        moved: from the keyframe.
        detected: in this frame, by the less certain detector.
        options: see ``FusedOptions``.
    Returns:
        The moved boxes first, then the new ones; ``moved`` is False where a box was detected in this frame.
    """
    scores = detected.scores * np.float32(options.detected_weight)
    overlap = _iou(moved.boxes_xyxy_px, detected.boxes_xyxy_px)
    overlap *= moved.labels[:, None] == detected.labels[None]
    seen = np.zeros(len(moved), bool)
    boxes = moved.boxes_xyxy_px.copy()
    if len(moved) and len(detected):
        best = overlap.argmax(axis=1)
        seen = overlap[np.arange(len(moved)), best] >= max(options.same_iou, 1e-6)
        partner = best[seen]
        weight = (scores[partner] / np.maximum(scores[partner] + moved.scores[seen], 1e-6))[:, None]
        boxes[seen] += weight * (detected.boxes_xyxy_px[partner] - boxes[seen])
    new = overlap.max(axis=0, initial=0.0) <= options.new_iou
    kept_scores = np.where(seen, moved.scores, moved.scores * np.float32(options.unseen_decay))
    return PropagatedBoxes(
        np.concatenate((boxes, detected.boxes_xyxy_px[new])),
        np.concatenate((kept_scores, scores[new])).astype(np.float32),
        np.concatenate((moved.labels, detected.labels[new])),
        np.concatenate((~seen, np.zeros(int(new.sum()), bool))),
    )


class Fused:
    """Flow boxes, corrected at every frame by the detector on a smaller input; see ``BoxPropagator``.

    The joined boxes are the ones moved to the next frame, so that a correction lasts and a new object stays.
    """

    name: ClassVar[str] = "fused"
    needs_luma: ClassVar[bool] = True
    needs_detections: ClassVar[bool] = True

    def __init__(self, options: FusedOptions | None = None) -> None:
        """Keep the options; there is no keyframe yet."""
        self.options = options or FusedOptions()
        self._moving = FlowBoxes(self.options)

    def keyframe(self, luma: np.ndarray | None, detected: PropagatedBoxes) -> None:
        """Remember the picture and the boxes that are worth moving."""
        self._moving.keyframe(luma, detected)

    def propagate(self, luma: np.ndarray | None, detected: PropagatedBoxes | None = None) -> PropagatedBoxes:
        """Moved, corrected and new boxes, the best score first."""
        detected = require_detections(self.name, detected)
        fused = fuse_boxes(self._moving.propagate(luma), detected, self.options)
        self._moving.keyframe(luma, fused)
        return fused.where(np.argsort(-fused.scores, kind="stable"))

    def reset(self) -> None:
        """Forget picture and boxes."""
        self._moving.reset()


def require_detections(name: str, detected: PropagatedBoxes | None) -> PropagatedBoxes:
    """The boxes of the smaller input.

    Raises:
        StateError: if the caller gave none.
    """
    if detected is None:
        raise StateError(
            f"propagator {name} joins the smaller input's boxes",
            got="none for this frame",
            expected="the boxes of this frame",
            fix="Run the smaller graph on propagated frames and hand its boxes over.",
        )
    return detected


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (a, b)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12))
