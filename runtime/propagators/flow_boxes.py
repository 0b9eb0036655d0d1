"""The keyframe's boxes moved by optical flow, from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np

from lsts_edge.boxes import Boxes, Corners
from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.runtime.propagators.flow import DisFlow, LkTracker, PointTracker
from lsts_edge.runtime.propagators.hold import require_keyframe
from lsts_edge.runtime.propagators.interface import (
    PropagatedBoxes,
    check_fraction,
    check_luma,
    check_whole,
)
from lsts_edge.runtime.propagators.motion import move_boxes, sample_points

__all__ = ["FlowBoxes", "FlowBoxesOptions"]

_FLOWS: dict[str, type[DisFlow] | type[LkTracker]] = {"dis": DisFlow, "lk": LkTracker}
_LEAST_SIDE_PX = 16  # of the picture flow is computed on; DIS needs 12
_BORDER_PX = 2.0  # a side this near the frame's border is cut off by it
_LEAST_SIZE_PX = 4.0  # of a box, in the picture that flow is computed on: the motion of a smaller one is noise


@dataclass(frozen=True)
class FlowBoxesOptions:
    """How boxes are moved.

    Attributes:
        flow: ``dis``, dense and the same time for any number of boxes, or ``lk``, points.
        reduce: flow is computed on the picture this many times smaller.
        grid: points along a box's side.
        most_boxes: the best of the keyframe, more are not moved.
        least_score: boxes below are not moved.
        least_visible: a box of which less than this share is left in the frame is dropped.
        score_decay: scores are multiplied by it at every frame.
        most_error: a box is dropped when a shift and a stretch explain its points worse than this, as a share of its
            shorter side: what it showed is covered or torn apart. Scores are left alone: lowering those of doubtful
            boxes raises the agreement by a point and loses three in AP against labels, as what moves most is what
            is worth finding.
        most_motion: a keyframe is due once the fastest box has moved by more than this share of its size since the
            last; 0 leaves it to the interval.
        motion_score: boxes below do not count for ``most_motion``.
    """

    flow: str = "dis"
    reduce: int = 2
    grid: int = 5
    most_boxes: int = 50
    least_score: float = 0.05
    least_visible: float = 0.25
    score_decay: float = 1.0
    most_error: float = 0.15
    most_motion: float = 0.0
    motion_score: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self)
        if self.flow not in _FLOWS:
            expected = ", ".join(_FLOWS)
            raise OptionError("propagator option flow", got=repr(self.flow), expected=expected, fix="Choose one.")
        check_whole(self, "reduce", 1, 16)
        check_whole(self, "grid", 2, 32)
        check_whole(self, "most_boxes", 1, 1000)
        check_fraction(self, "least_score", "least_visible", "score_decay", "most_error", "motion_score")
        check_fraction(self, "most_motion", most=100.0)


@dataclass(frozen=True)
class _State:
    """Boxes as edges, unclipped, where they were in the last picture.

    ``cut`` ``(D, 4)`` says which of their sides the frame cuts off, ``corners`` by which rule they came.
    """

    picture: np.ndarray
    size: tuple[int, ...]
    boxes: Boxes
    cut: np.ndarray
    corners: Corners


class FlowBoxes:
    """Moves and stretches boxes as the picture inside them moves; see ``BoxPropagator``.

    A side that lies on the frame's border in the keyframe is where the frame ends, not the object: when the box
    moves inwards, that side stays on the border.
    """

    name: ClassVar[str] = "flow-boxes"
    needs_luma: ClassVar[bool] = True
    needs_detections: ClassVar[bool] = False

    def __init__(self, options: FlowBoxesOptions | None = None) -> None:
        """Keep the options; there is no keyframe yet."""
        self.options = options or FlowBoxesOptions()
        self._flow: PointTracker = _FLOWS[self.options.flow]()
        self._state: _State | None = None

    def keyframe(self, luma: np.ndarray | None, detected: Boxes) -> None:
        """Remember the picture and the boxes that are worth moving."""
        picture = check_luma(luma)
        boxes = _worth_moving(detected, self.options)
        height, width = picture.shape
        borders = np.array([_BORDER_PX, _BORDER_PX, width - _BORDER_PX, height - _BORDER_PX], np.float32)
        cut = (boxes.xyxy_px >= borders) ^ np.array([True, True, False, False])
        self._state = _State(self._reduced(picture), picture.shape, boxes, cut, detected.corners)

    def propagate(self, luma: np.ndarray | None, detected: Boxes | None = None) -> PropagatedBoxes:
        """The boxes where they are now; those that left the frame are dropped."""
        state = require_keyframe(self._state)
        picture = self._reduced(check_luma(luma, state.size))
        self._state, shown = self._moved(state, picture)
        return shown

    def reset(self) -> None:
        """Forget picture and boxes."""
        self._state = None

    def _reduced(self, luma: np.ndarray) -> np.ndarray:
        height, width = luma.shape
        divisor = max(1, min(self.options.reduce, min(height, width) // _LEAST_SIDE_PX))
        size = (max(_LEAST_SIDE_PX, round(width / divisor)), max(_LEAST_SIDE_PX, round(height / divisor)))
        # Always a new array: the caller may use the picture's memory again.
        return cv2.resize(luma, size, interpolation=cv2.INTER_AREA) if size != (width, height) else luma.copy()

    def _moved(self, state: _State, picture: np.ndarray) -> tuple[_State, PropagatedBoxes]:
        if not len(state.boxes):
            nothing = state.boxes.with_corners(state.corners)
            motion = 0.0 if self.options.most_motion else None
            return replace(state, picture=picture), PropagatedBoxes(nothing, np.ones(0, bool), motion)
        height, width = state.size
        boxes, frame = state.boxes, np.array([width, height] * 2, np.float32)
        scale = np.array(picture.shape[1::-1] * 2, np.float32) / frame
        before = boxes.xyxy_px * scale
        points = sample_points(before, picture.shape[0], picture.shape[1], self.options.grid)
        after, error = move_boxes(before, points, self._flow.shifts(state.picture, picture, points))
        motion = self._motion(before, after, boxes.scores) if self.options.most_motion else None
        corners = after / scale
        if state.cut.any():
            outwards = np.concatenate((np.minimum(corners[:, :2], 0), np.maximum(corners[:, 2:], frame[2:])), axis=1)
            corners = np.where(state.cut, outwards, corners)
        shown = np.minimum(np.maximum(corners, 0), frame)
        kept = _area(shown) >= np.maximum(self.options.least_visible * _area(corners), 1e-6)
        kept &= error <= self.options.most_error
        scores = boxes.scores * np.float32(self.options.score_decay) if self.options.score_decay < 1 else boxes.scores
        moved, cut = Boxes(corners, scores, boxes.labels), state.cut
        if not kept.all():
            moved, cut, shown = moved.select(kept), cut[kept], shown[kept]
        state = replace(state, picture=picture, boxes=moved, cut=cut)
        answer = Boxes(shown, moved.scores, moved.labels).with_corners(state.corners)
        return state, PropagatedBoxes(answer, np.ones(len(answer), bool), motion)

    def _motion(self, before: np.ndarray, after: np.ndarray, scores: np.ndarray) -> float:
        """Of the corner that moved furthest, of boxes that count, by the square root of the box's area."""
        counts = scores >= self.options.motion_score
        sides = np.maximum(np.sqrt(_area(before)), _LEAST_SIZE_PX)
        shares = np.abs(after - before).max(axis=1) / sides
        return float(shares.max(initial=0, where=counts))


def _worth_moving(detected: Boxes, options: FlowBoxesOptions) -> Boxes:
    good = np.flatnonzero((detected.scores >= options.least_score) & np.isfinite(detected.xyxy_px).all(axis=1))
    best = good[np.argsort(-detected.scores[good], kind="stable")[: options.most_boxes]]
    return detected.select(best).as_edges()


def _area(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])
