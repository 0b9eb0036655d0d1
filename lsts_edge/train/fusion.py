"""Boxes of several detectors as one set: weighted box fusion, where agreement is worth more than one loud voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError

__all__ = ["fuse_boxes"]


def fuse_boxes(found: Sequence[Boxes], *, iou: float = 0.55) -> Boxes:
    """Fuse what detectors of the same classes found in one picture.

    Class by class and best first, a box joins the cluster whose fused box it overlaps most, if by more than ``iou``,
    and else begins one. A cluster's corners are means weighted by score; its score is the mean score times the share
    of the detectors that have a box in it (at most 1), so that a box which only one of two sees keeps half its score.
    Source: Solovyev, Wang and Gabruseva, 2021, "Weighted boxes fusion"; equal weights, scores averaged.

    Args:
        found: of each detector, none left out that found nothing.
        iou: overlap from which two boxes are of one object.

    Returns:
        Fused boxes, corners as edges, the best first.

    Raises:
        OptionError: if there is no detector or ``iou`` is not between 0 and 1.
    """
    if not found or not 0 < iou < 1:
        raise OptionError(
            "box fusion", got=f"{len(found)} detectors, IoU {iou}", expected="at least one, 0 < IoU < 1",
            fix="Correct the call.",
        )  # fmt: skip
    every = Boxes.join([boxes.as_edges() for boxes in found])
    parts = [_fuse_class(every.select(every.labels == label), iou, len(found)) for label in np.unique(every.labels)]
    fused = Boxes.join([Boxes.empty(), *parts])
    return fused.select(np.argsort(-fused.scores, kind="stable"))


def _fuse_class(boxes: Boxes, iou: float, detectors: int) -> Boxes:
    order = np.argsort(-boxes.scores, kind="stable")
    corners, scores = boxes.xyxy_px[order].astype(np.float64), boxes.scores[order].astype(np.float64)
    sums = np.zeros_like(corners)  # of corners times scores, by cluster
    weights, counts = np.zeros(len(scores)), np.zeros(len(scores), np.int64)
    clusters = 0
    for corner, score in zip(corners, scores, strict=True):
        at = clusters
        if clusters:
            overlap = _iou(sums[:clusters] / weights[:clusters, None], corner)
            best = int(overlap.argmax())
            at = best if overlap[best] > iou else clusters
        clusters = max(clusters, at + 1)
        sums[at] += score * corner
        weights[at] += score
        counts[at] += 1
    counts = counts[:clusters]
    agreed = np.minimum(counts, detectors) / detectors
    return Boxes(
        (sums[:clusters] / weights[:clusters, None]).astype(np.float32),
        (weights[:clusters] / counts * agreed).astype(np.float32),
        np.full(clusters, boxes.labels[0]),
    )


def _iou(boxes: np.ndarray, one: np.ndarray) -> np.ndarray:
    low, high = np.maximum(boxes[:, :2], one[:2]), np.minimum(boxes[:, 2:], one[2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (one[2:] - one[:2]).prod()
    return np.asarray(common / np.maximum(area - common, 1e-12))
