"""Which boxes of a way are right, judged over all frames at once by COCO's greedy rule."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from lsts_edge.errors import ShapeError
from lsts_edge.evaluation.frame_boxes import FrameBoxes, same_class_pairs

__all__ = ["Judged", "judge"]

_RIGHT_IOU = 0.5


@dataclass(frozen=True)
class Judged:
    """A way's boxes beside the truth.

    Attributes:
        found: the N boxes of the way.
        truth: the M true boxes.
        correct: ``(N,)`` bool; each true box is found once.
        overlap: ``(N,)`` float64, largest IoU with a true box of the frame and class, taken by another or not.
        taken_by: ``(M,)`` int64, the box that found the true box; -1 where none did.
    """

    found: FrameBoxes
    truth: FrameBoxes
    correct: np.ndarray
    overlap: np.ndarray
    taken_by: np.ndarray


def judge(truth: FrameBoxes, found: FrameBoxes, iou: float = _RIGHT_IOU) -> Judged:
    """Match boxes with true boxes of the same frame and class.

    Best score first, a box takes the free true box it overlaps most, if by ``iou`` at least: the rule of
    ``metrics.match_image``, with a pass over all frames for the first box of each, one for the second and so on.

    Args:
        truth: the true boxes; their scores are not looked at.
        found: boxes of the same frames.
        iou: the overlap wanted.
    Raises:
        ShapeError: if the two are of different numbers of frames.
    """
    if truth.frames != found.frames:
        fix = "Give the boxes of the same frames."
        raise ShapeError("frames of a way", got=found.frames, expected=truth.frames, fix=fix)
    overlap = np.zeros(len(found))
    left, right, shared = same_class_pairs(found.frame, found, truth.frame, truth, 0.0)
    np.maximum.at(overlap, left, shared)
    enough = shared >= min(iou, 1 - 1e-10)
    left, right, shared = left[enough], right[enough], shared[enough]
    correct = np.zeros(len(found), bool)
    taken_by = np.full(len(truth), -1, np.int64)
    rank = _rank_in_frame(found, np.unique(left))
    order = np.lexsort((-right, -shared, rank[left]))  # of equal overlaps the last true box, as COCO's tool does
    left, right, turn = left[order], right[order], rank[left][order]
    bounds = np.searchsorted(turn, np.arange(turn.max(initial=-1) + 2))
    for low, high in itertools.pairwise(bounds):
        boxes, objects = left[low:high], right[low:high]
        free = taken_by[objects] < 0
        boxes, objects = boxes[free], objects[free]
        # One box a frame and class has its turn, so no two boxes of a pass want the same object.
        chosen, first = np.unique(boxes, return_index=True)
        correct[chosen] = True
        taken_by[objects[first]] = chosen
    return Judged(found, truth, correct, overlap, taken_by)


def _rank_in_frame(found: FrameBoxes, members: np.ndarray) -> np.ndarray:
    """Place of each member among the members of its frame and class, best score first; -1 for the others."""
    rank = np.full(len(found), -1, np.int64)
    order = members[np.lexsort((-found.boxes.scores[members], found.boxes.labels[members], found.frame[members]))]
    frame, label = found.frame[order], found.boxes.labels[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (frame[1:] != frame[:-1]) | (label[1:] != label[:-1])
    begin = np.flatnonzero(starts)
    rank[order] = np.arange(len(order)) - np.repeat(begin, np.diff(np.append(begin, len(order))))
    return rank
