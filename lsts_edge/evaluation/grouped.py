"""Boxes of COCO's classes as boxes of the five groups: a rider is a person and what he rides, as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import COCO_GROUPS

__all__ = ["KINDS", "group_boxes", "kind_boxes"]

KINDS = ("person", "bicycle", "horse", "car", "bird", "dog")
"""One COCO class for each kind that the groups need told apart; bicycle stands for motorcycle too, dog for the rest."""

_RIDDEN = ("bicycle", "motorcycle", "horse")
_COVER = 0.3
_SAME = 0.6  # overlap from which two boxes of one group are the same object under two names
_RIDDEN_SCORE = 0.3  # a weaker bicycle makes nobody a rider


def kind_boxes(found: Boxes, names: Sequence[str]) -> Boxes:
    """Put COCO's classes together into ``KINDS``, so that a wolf called dog, bear and sheep is one animal.

    Args:
        found: labels index ``names``; classes that belong to no group are left out.
        names: COCO's, of the detector's classes.
    """
    kinds = {"vehicle": "car", "quadruped": "dog", "person": "person", "bird": "bird"}
    of = [{"motorcycle": "bicycle"}.get(name, name if name in KINDS else kinds.get(COCO_GROUPS.get(name, ""), ""))
          for name in names]  # fmt: skip
    labels = np.array([KINDS.index(kind) if kind else -1 for kind in of], np.int64)[found.labels]
    return _once(Boxes(found.xyxy_px, found.scores, labels, found.corners).select(labels >= 0))


def group_boxes(found: Boxes, names: Sequence[str], groups: Sequence[str]) -> Boxes:
    """Put a detector's boxes into our groups; classes that belong to none are left out.

    A person and a bicycle, motorcycle or horse that share more than 0.3 of the smaller one's area become a ``rider``,
    their common box with the lesser of the two scores, those that share most first, each in one pair only.

    Args:
        found: labels index ``names``.
        names: COCO's, of the detector's classes.
        groups: names that the result's labels index; without ``rider`` persons stay persons.

    Returns:
        Corners as edges, the best first; of boxes of one group that overlap by more than 0.6 the best.
    """
    found = found.as_edges()
    mapped = [COCO_GROUPS.get(name, "") for name in names]
    table = np.array([groups.index(group) if group and group in groups else -1 for group in mapped], np.int64)
    labels = table[found.labels]
    person = np.flatnonzero(np.array([name == "person" for name in names])[found.labels])
    ridden = np.flatnonzero(
        np.array([name in _RIDDEN for name in names])[found.labels] & (found.scores >= _RIDDEN_SCORE)
    )
    riders = _pairs(found.xyxy_px, person, ridden) if "rider" in groups else []
    corners, scores = [], []
    for rider, mount in riders:
        labels[[rider, mount]] = -1
        a, b = found.xyxy_px[rider], found.xyxy_px[mount]
        corners.append(np.concatenate((np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:]))))
        scores.append(min(found.scores[rider], found.scores[mount]))
    kept = Boxes(found.xyxy_px, found.scores, labels).select(labels >= 0)
    if riders:
        label = np.full(len(riders), groups.index("rider"))
        kept = Boxes.join([kept, Boxes(np.array(corners), np.array(scores, np.float32), label)])
    return _once(kept)


def _once(boxes: Boxes) -> Boxes:
    """Best first; of boxes of one label that overlap by more than 0.6 the best."""
    boxes = boxes.select(np.argsort(-boxes.scores, kind="stable"))
    same = (boxes.iou(boxes) > _SAME) & (boxes.labels[:, None] == boxes.labels[None])
    keep = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        keep[index] = not (same[index, :index] & keep[:index]).any()
    return boxes.select(keep)


def _pairs(boxes: np.ndarray, person: np.ndarray, ridden: np.ndarray) -> list[tuple[int, int]]:
    """(person, what he rides) by the share of the smaller area, the largest first."""
    if not len(person) or not len(ridden):
        return []
    a, b = boxes[person, None], boxes[None, ridden]
    common = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    cover = common / np.maximum(np.minimum(area[person][:, None], area[ridden][None]), 1e-12)
    pairs: list[tuple[int, int]] = []
    while cover.size and cover.max() > _COVER:
        row, column = np.unravel_index(cover.argmax(), cover.shape)
        pairs.append((int(person[row]), int(ridden[column])))
        cover[row], cover[:, column] = 0, 0
    return pairs
