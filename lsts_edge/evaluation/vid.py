"""ImageNet VID's mean average precision with its rule for small objects, and FGFA's by how fast objects move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.motion import MOTION_RANGES, motion_ious

__all__ = ["VidAccuracy", "all_point_precision", "measure_vid", "small_object_iou"]


@dataclass(frozen=True)
class VidAccuracy:
    """What a detector reaches by the rules of ImageNet VID; None: there is nothing to find.

    Attributes:
        mean_ap: over the classes that occur, AP at IoU 0.5, less for small objects.
        ap_per_class: by class name.
        mean_ap_by_motion: ``slow``, ``medium`` and ``fast``; None for all where objects have no instance number.
        boxes_by_motion: true boxes of each.
    """

    mean_ap: float | None
    ap_per_class: Mapping[str, float | None]
    mean_ap_by_motion: Mapping[str, float | None] | None
    boxes_by_motion: Mapping[str, int] | None


@dataclass(frozen=True)
class _Judged:
    """The boxes of one image beside its true ones."""

    scores: np.ndarray
    labels: np.ndarray
    taken: np.ndarray  # true box that each found; -1
    dropped: np.ndarray  # on an ignore box only
    overlaps: np.ndarray  # (D, M) with every true box, whatever its class; ignore boxes overlap nothing


def measure_vid(annotations: AnnotationSet, detections: Mapping[int, Boxes]) -> VidAccuracy:
    """Compare detections with annotations as ImageNet VID's own tool does, and by motion as FGFA does.

    A true box of ``w x h`` pixels is found from an IoU of ``min(0.5, w h / ((w + 10)(h + 10)))`` on; all boxes count,
    and the area under the whole curve is taken. By motion, a true box outside the range is neither found nor missed,
    and a wrong box belongs to the range of the true box it overlaps most, of whatever class; where it overlaps none,
    it counts as the share of the image's true boxes *outside* the range, and in an image without any as the share of
    all true boxes inside it: both are FGFA's, and make its figures.

    VID's corners are inclusive; as edges the same boxes have the same sizes and overlaps.

    Args:
        annotations: the truth; ignore boxes, which VID does not have, drop boxes as in ``metrics.match_image``.
        detections: by image id.
    """
    judged = [_judge(record, detections.get(record.image_id, Boxes.empty())) for record in annotations.images]
    whole = [~record.ignore for record in annotations.images]
    ap_per_class = _per_class(annotations, judged, whole, whole_range=True)
    by_motion: dict[str, float | None] | None = None
    boxes: dict[str, int] | None = None
    if any((record.instances[~record.ignore] >= 0).any() for record in annotations.images):
        motion = motion_ious(annotations)
        by_motion, boxes = {}, {}
        for name, (low, high) in MOTION_RANGES.items():
            inside = [(value >= low) & (value <= high) for value in motion]  # NaN, which ignore boxes have, is not
            by_motion[name] = _mean(_per_class(annotations, judged, inside, whole_range=False))
            boxes[name] = int(sum(part.sum() for part in inside))
    return VidAccuracy(_mean(ap_per_class), ap_per_class, by_motion, boxes)


def small_object_iou(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    """IoU from which each box ``(M, 4)`` is found: ``min(0.5, w h / ((w + 10)(h + 10)))``, ``(M,)``."""
    width, height = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).astype(np.float64).T
    return np.asarray(np.minimum(0.5, width * height / ((width + 10) * (height + 10))))


def all_point_precision(scores: np.ndarray, right: np.ndarray, wrong: np.ndarray, positives: int) -> float | None:
    """Area under the precision that is best from each recall on, over every recall reached.

    Args:
        scores: ``(D,)``.
        right: ``(D,)`` bool.
        wrong: ``(D,)`` float, what each counts as a wrong one: 0 to 1.
        positives: what is to be found; None comes back for 0.
    """
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order]).astype(np.float64)
    recall = np.concatenate(([0.0], hits / positives))
    precision = hits / np.maximum(hits + np.cumsum(wrong[order]), 1e-12)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope).sum())


def _judge(record: ImageRecord, found: Boxes) -> _Judged:
    found = found.as_edges().select(np.argsort(-found.scores, kind="stable"))
    truth = Boxes(record.boxes_xyxy_px, np.ones(len(record.labels), np.float32), record.labels)
    overlaps = found.iou(truth)
    least = small_object_iou(record.boxes_xyxy_px)
    same = found.labels[:, None] == record.labels[None]
    wanted = np.where(same & ~record.ignore & (overlaps >= least - 1e-10), overlaps, -1.0)
    taken = np.full(len(found), -1)
    free = np.ones(len(record.labels), bool)
    for index in np.flatnonzero((wanted >= 0).any(axis=1)).tolist():
        candidates = np.where(free, wanted[index], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= 0:
            taken[index], free[best] = best, False
    regions = truth.select(record.ignore)
    cover = _cover(found.xyxy_px, regions.xyxy_px) * (found.labels[:, None] == regions.labels[None])
    dropped = (taken < 0) & (cover >= 0.5 - 1e-10).any(axis=1)
    return _Judged(found.scores, found.labels, taken, dropped, np.where(record.ignore, 0.0, overlaps))


def _per_class(
    annotations: AnnotationSet, judged: list[_Judged], inside: list[np.ndarray], *, whole_range: bool
) -> dict[str, float | None]:
    """AP of each class over the true boxes that ``inside`` marks, by image."""
    objects = sum(int((~record.ignore).sum()) for record in annotations.images)
    share = sum(int(part.sum()) for part in inside) / max(objects, 1)
    right, wrong = [], []
    for record, one, marked in zip(annotations.images, judged, inside, strict=True):
        took = one.taken >= 0
        right.append(took & np.append(marked, False)[one.taken])
        free = ~took & ~one.dropped
        wrong.append(free * (1.0 if whole_range else _belongs(one.overlaps, marked, ~record.ignore, share)))
    scores = np.concatenate([one.scores for one in judged])
    labels = np.concatenate([one.labels for one in judged])
    is_right, is_wrong = np.concatenate(right), np.concatenate(wrong)
    result: dict[str, float | None] = {}
    for label, name in enumerate(annotations.classes):
        of_class = labels == label
        positives = sum(
            int((marked & (record.labels == label)).sum())
            for record, marked in zip(annotations.images, inside, strict=True)
        )
        result[name] = all_point_precision(scores[of_class], is_right[of_class], is_wrong[of_class], positives)
    return result


def _belongs(overlaps: np.ndarray, inside: np.ndarray, real: np.ndarray, share: float) -> np.ndarray:
    """How much each wrong box ``(D,)`` counts in a range of motion."""
    if not real.any():
        return np.full(len(overlaps), share)
    within = np.where(inside, overlaps, -1.0).max(axis=1)
    beyond = np.where(real & ~inside, overlaps, -1.0).max(axis=1)
    outside = float((real & ~inside).sum() / real.sum())
    return np.where(within > beyond, 1.0, np.where(within < beyond, 0.0, outside))


def _cover(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share of each box that lies in each region, ``(D, R)``."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(axis=1)
    return np.asarray(np.clip(high - low, 0, None).astype(np.float64).prod(axis=2) / np.maximum(area, 1e-12)[:, None])


def _mean(per_class: Mapping[str, float | None]) -> float | None:
    known = [value for value in per_class.values() if value is not None]
    return float(np.mean(known)) if known else None
