"""Which true boxes show an object that the last keyframe did not: those no moved box can know."""

from __future__ import annotations

import numpy as np

from lsts_edge.evaluation.frame_boxes import FrameBoxes, same_class_pairs

__all__ = ["new_objects"]

_SAME_IOU = 0.3


def new_objects(detector: FrameBoxes, clips: np.ndarray, distances: np.ndarray, least_score: float) -> np.ndarray:
    """Mark boxes that are not the continuation of a box of the last keyframe.

    From each keyframe on, a box lives on in the next frame's box of its class that it overlaps by 0.3; one that is
    not found again stays where it was, for a detector misses objects now and then. All keyframes take their steps
    together.

    Args:
        detector: the N boxes of the detector run on every frame, whatever their score.
        clips: ``(F,)`` int, clip of each frame; frames of a clip lie together, in order.
        distances: ``(F,)`` int, frames since the last keyframe, 0 on one.
        least_score: boxes below it neither live on nor are marked.
    Returns:
        ``(N,)`` bool: new, in a propagated frame.
    """
    known = np.flatnonzero(detector.boxes.scores >= least_score)
    boxes = detector.where(known)
    starts = distances == 0
    starts[1:] |= clips[1:] != clips[:-1]
    group = np.cumsum(starts)[boxes.frame]
    distance = distances[boxes.frame]
    alive = np.flatnonzero(distance == 0)
    new = np.zeros(len(detector), bool)
    for step in range(1, int(distances.max(initial=0)) + 1):
        here = np.flatnonzero(distance == step)
        now, before = boxes.where(here), boxes.where(alive)
        left, right, _ = same_class_pairs(group[here], now, group[alive], before, _SAME_IOU)
        continued = np.zeros(len(here), bool)
        continued[left] = True
        new[known[here[~continued]]] = True
        seen_again = np.zeros(len(alive), bool)
        seen_again[right] = True
        alive = np.concatenate((here[continued], alive[~seen_again]))
    return new
