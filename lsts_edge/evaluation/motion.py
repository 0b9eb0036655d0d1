"""How fast each true box moves: its mean overlap with the same object in the frames around, by FGFA's rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.tracks import true_tracks

__all__ = ["MOTION_RANGES", "NEARBY_FRAMES", "motion_ious"]

NEARBY_FRAMES = 10
MOTION_RANGES: Mapping[str, tuple[float, float]] = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}
"""Lowest and highest motion IoU of each kind, both included, as in Zhu et al., "Flow-Guided Feature Aggregation",
ICCV 2017, and their published evaluation."""


def motion_ious(annotations: AnnotationSet) -> list[np.ndarray]:
    """Motion IoU of every true box, by image in the order of the set.

    The mean IoU of a box with those of the same object in the 10 frames before and the 10 after, as far as the
    object is there. An object seen once has 1: nothing says that it moves.

    Returns:
        For each image ``(M,)`` float64; NaN for ignore boxes and boxes without an instance number.
    Raises:
        AnnotationError: if no box has an instance number.
    """
    result = [np.full(len(record.labels), np.nan) for record in annotations.images]
    for track in true_tracks(annotations):
        overlap = _pairwise_iou(track.boxes_xyxy_px.astype(np.float64))
        apart = np.abs(track.frames[:, None] - track.frames[None])
        near = (apart > 0) & (apart <= NEARBY_FRAMES)
        count = near.sum(axis=1)
        mean = np.where(count > 0, np.where(near, overlap, 0).sum(axis=1) / np.maximum(count, 1), 1.0)
        for position, row, value in zip(track.images.tolist(), track.rows.tolist(), mean, strict=True):
            result[position][row] = value
    return result


def _pairwise_iou(boxes: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / (area[:, None] + area[None] - shared))
