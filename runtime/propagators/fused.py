"""Boxes moved by flow and the same detector's boxes on a smaller input, as one set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import StateError
from lsts_edge.kinds import check_fields
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
    unseen_decay: float = 0.9

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()
        check_fraction(self, "same_iou", "new_iou", "detected_weight", "unseen_decay")


def fuse_boxes(moved: Boxes, detected: Boxes, options: FusedOptions) -> PropagatedBoxes:
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
    detected = detected.with_corners(moved.corners)
    detected = replace(detected, scores=detected.scores * np.float32(options.detected_weight))
    overlap = moved.iou(detected) * (moved.labels[:, None] == detected.labels[None])
    seen = np.zeros(len(moved), bool)
    corners = moved.xyxy_px.copy()
    if len(moved) and len(detected):
        best = overlap.argmax(axis=1)
        seen = overlap[np.arange(len(moved)), best] >= max(options.same_iou, 1e-6)
        partner = detected.select(best[seen])
        weight = partner.scores / np.maximum(partner.scores + moved.scores[seen], np.float32(1e-6))
        corners[seen] += weight[:, None] * (partner.xyxy_px - corners[seen])
    scores = np.where(seen, moved.scores, moved.scores * np.float32(options.unseen_decay))
    new = detected.select(overlap.max(axis=0, initial=0.0) <= options.new_iou)
    return PropagatedBoxes(
        Boxes.join([replace(moved, xyxy_px=corners, scores=scores), new]),
        np.concatenate((~seen, np.zeros(len(new), bool))),
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

    def keyframe(self, luma: np.ndarray | None, detected: Boxes) -> None:
        """Remember the picture and the boxes that are worth moving."""
        self._moving.keyframe(luma, detected)

    def propagate(self, luma: np.ndarray | None, detected: Boxes | None = None) -> PropagatedBoxes:
        """Moved, corrected and new boxes, the best score first."""
        detected = require_detections(self.name, detected)
        moved = self._moving.propagate(luma)
        fused = replace(fuse_boxes(moved.boxes, detected, self.options), motion=moved.motion)
        self._moving.keyframe(luma, fused.boxes)
        return fused.select(np.argsort(-fused.boxes.scores, kind="stable"))

    def reset(self) -> None:
        """Forget picture and boxes."""
        self._moving.reset()


def require_detections(name: str, detected: Boxes | None) -> Boxes:
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
