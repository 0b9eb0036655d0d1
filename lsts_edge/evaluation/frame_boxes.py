"""The boxes of many frames in flat arrays, and every pair of same-class boxes that share a frame, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import ShapeError

__all__ = ["FrameBoxes", "same_class_pairs"]


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes of ``frames`` frames, one row a box.

    Attributes:
        frame: ``(N,)`` int64, index of each box's frame.
        boxes: the N boxes, corners as edges.
        frames: how many frames there are, those without a box included.

    Raises:
        ShapeError: if there are not as many indices as boxes, or a box is in none of the frames.
    """

    frame: np.ndarray
    boxes: Boxes
    frames: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", self.boxes.as_edges())
        fits = self.frame.shape == (len(self.boxes),)
        if not fits or (len(self.frame) and not 0 <= self.frame.min() <= self.frame.max() < self.frames):
            raise ShapeError(
                "boxes of frames",
                got=f"{self.frame.shape} indices of {self.frames} frames",
                expected=f"({len(self.boxes)},), every box in one of the frames",
                fix="Give a frame to every box.",
            )

    @classmethod
    def join(cls, rows: Sequence[Boxes]) -> FrameBoxes:
        """The boxes of each frame, in order."""
        frame = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        return cls(frame, Boxes.join(rows) if rows else Boxes.empty(), len(rows))

    def where(self, kept: np.ndarray) -> FrameBoxes:
        """The boxes that a mask or an index keeps, of the same frames."""
        return FrameBoxes(self.frame[kept], self.boxes.select(kept), self.frames)

    def __len__(self) -> int:
        return len(self.frame)


def same_class_pairs(
    first_group: np.ndarray,
    first: FrameBoxes,
    second_group: np.ndarray,
    second: FrameBoxes,
    least_iou: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of boxes of one group and one class that overlap.

    Args:
        first_group: ``(N,)`` int, of the first boxes: their frame, say.
        first: N boxes.
        second_group: ``(M,)`` int, of the second.
        second: M boxes.
        least_iou: pairs that overlap less are left out.
    Returns:
        index into the first ``(P,)``, index into the second ``(P,)``, IoU ``(P,)`` float64; sorted by the first.
    """
    classes = 1 + max(int(first.boxes.labels.max(initial=0)), int(second.boxes.labels.max(initial=0)))
    key = second_group * classes + second.boxes.labels
    order = np.argsort(key, kind="stable")
    wanted = first_group * classes + first.boxes.labels
    start = np.searchsorted(key[order], wanted, side="left")
    counts = np.searchsorted(key[order], wanted, side="right") - start
    left = np.repeat(np.arange(len(first)), counts)
    # Position of each pair among the pairs of its own first box.
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(start, counts) + within]
    iou = _iou(first.boxes.xyxy_px.astype(np.float64)[left], second.boxes.xyxy_px.astype(np.float64)[right])
    kept = iou >= min(least_iou, 1 - 1e-10)
    return left[kept], right[kept], iou[kept]


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows, column by column: tens of millions of pairs are usual."""
    a, b = a.T, b.T
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = [np.clip(box[2] - box[0], 0, None) * np.clip(box[3] - box[1], 0, None) for box in (a, b)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-12))
