"""Detections to average precision, in numpy: COCO's matching and its 101-point precision, with ignore boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet

__all__ = [
    "AP_IOUS",
    "Matches",
    "as_one_class",
    "average_precision",
    "bootstrap_interval",
    "image_matches",
    "match_image",
    "mean_ap",
    "paired_difference",
    "sequence_matches",
]

AP_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MAX_DETECTIONS = 100  # per image and class, as COCO has it
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Matches:
    """Judged detections of one class at one overlap, over some images.

    Attributes:
        scores: ``(D,)``.
        correct: ``(D,)`` bool, each true box is found once.
        dropped: ``(D,)`` bool, counted neither way: they lie on an ignore box only.
        positives: true boxes there were.
    """

    scores: np.ndarray
    correct: np.ndarray
    dropped: np.ndarray
    positives: int

    @classmethod
    def join(cls, parts: Sequence[Matches]) -> Matches:
        """The matches of several sets of images as one."""
        if not parts:
            return cls(np.zeros(0), np.zeros(0, bool), np.zeros(0, bool), 0)
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.correct for part in parts]),
            np.concatenate([part.dropped for part in parts]),
            sum(part.positives for part in parts),
        )


def match_image(boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray, ignore: np.ndarray, iou: float) -> Matches:
    """Judge one image's detections of one class.

    Best first, a detection takes the free true box it overlaps most, if by ``iou`` at least; if there is none and
    at least ``iou`` of its own area lies in an ignore box, it is dropped. An ignore box may drop any number.

    Args:
        boxes: ``(D, 4)`` xyxy edges.
        scores: ``(D,)``.
        truth: ``(M, 4)``.
        ignore: ``(M,)`` bool.
        iou: the overlap wanted, 0..1.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    boxes, scores = boxes[order], scores[order]
    objects, regions = truth[~ignore], truth[ignore]
    overlap = _intersection(boxes, objects)
    union = _area(boxes)[:, None] + _area(objects)[None, :] - overlap
    overlap = overlap / np.maximum(union, 1e-12)
    cover = _intersection(boxes, regions) / np.maximum(_area(boxes), 1e-12)[:, None]
    least = min(iou, 1 - 1e-10)
    free = np.ones(len(objects), bool)
    correct = np.zeros(len(boxes), bool)
    dropped = np.zeros(len(boxes), bool)
    for index in range(len(boxes)):
        candidates = np.where(free, overlap[index], -1.0)
        # Of equal overlaps the last one is taken, as COCO's tool does.
        best = len(candidates) - 1 - int(np.argmax(candidates[::-1])) if len(candidates) else -1
        if best >= 0 and candidates[best] >= least:
            free[best] = False
            correct[index] = True
        elif len(regions) and cover[index].max() >= least:
            dropped[index] = True
    return Matches(scores, correct, dropped, len(objects))


def average_precision(matches: Matches) -> float:
    """Area under the precision that is best from each of 101 recalls on; NaN when there is nothing to find."""
    if matches.positives == 0:
        return float("nan")
    counted = ~matches.dropped
    order = np.argsort(-matches.scores[counted], kind="mergesort")
    correct = matches.correct[counted][order]
    if not len(correct):
        return 0.0
    hits = np.cumsum(correct)
    recall = hits / matches.positives
    precision = hits / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    position = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.where(position < len(envelope), envelope[np.minimum(position, len(envelope) - 1)], 0.0).mean())


def as_one_class(detections: Boxes, iou: float = 0.5) -> Boxes:
    """All classes as one: of detections that overlap more than ``iou`` the best stays, and every label becomes 0."""
    ranked = detections.select(np.argsort(-detections.scores, kind="stable"))
    overlap = ranked.iou(ranked)
    keep: list[int] = []
    for index in range(len(ranked)):
        if not keep or overlap[index, keep].max() <= iou:
            keep.append(index)
    best = ranked.select(np.array(keep, np.int64))
    return replace(best, labels=np.zeros(len(best), np.int64))


def image_matches(annotations: AnnotationSet, detections: Mapping[int, Boxes], iou: float) -> dict[int, list[Matches]]:
    """Matches of each image by its id, one per class.

    Args:
        annotations: the truth; its classes are what labels index.
        detections: by image id; a missing image has none.
        iou: overlap wanted.
    """
    nothing = Matches.join([])
    result: dict[int, list[Matches]] = {}
    for record in annotations.images:
        found = detections.get(record.image_id, Boxes.empty()).as_edges()
        parts = [nothing] * len(annotations.classes)
        for label in {*found.labels.tolist(), *record.labels.tolist()}:
            of_class, true = found.labels == label, record.labels == label
            parts[label] = match_image(
                found.xyxy_px[of_class],
                found.scores[of_class],
                record.boxes_xyxy_px[true],
                record.ignore[true],
                iou,
            )
        result[record.image_id] = parts
    return result


def sequence_matches(
    annotations: AnnotationSet, detections: Mapping[int, Boxes], iou: float
) -> dict[str, list[Matches]]:
    """Matches of each sequence, one per class: those of its images, joined."""
    per_image = image_matches(annotations, detections, iou)
    return {
        video: [Matches.join(parts) for parts in zip(*(per_image[record.image_id] for record in records), strict=True)]
        for video, records in annotations.sequences().items()
    }


def mean_ap(sequences: Sequence[Sequence[Matches]]) -> float:
    """Mean over the classes that occur of the average precision over the given sequences."""
    per_class = [average_precision(Matches.join(list(parts))) for parts in zip(*sequences, strict=True)]
    known = [value for value in per_class if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def bootstrap_interval(
    sequences: Sequence[Sequence[Matches]], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of ``mean_ap`` under drawing the sequences anew, with replacement.

    Raises:
        OptionError: if there is no sequence or ``resamples`` is not positive.
    """
    if not sequences or resamples < 1:
        got = f"{len(sequences)} sequences, {resamples} resamples"
        raise OptionError("bootstrap", got=got, expected="at least one of each", fix="Give more.")
    random = np.random.RandomState(seed)
    draws = random.randint(0, len(sequences), (resamples, len(sequences)))
    values = np.array([mean_ap([sequences[index] for index in draw]) for draw in draws])
    tail = (1 - level) / 2 * 100
    low, high = np.nanpercentile(values, (tail, 100 - tail))
    return float(low), float(high)


def paired_difference(
    first: Sequence[Sequence[Matches]], second: Sequence[Sequence[Matches]], resamples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """``first`` minus ``second`` in mean AP, with a 95 % interval: both are scored on the same drawn sequences.

    Args:
        first: per sequence, per class.
        second: the same sequences in the same order.
        resamples: of the bootstrap.
        seed: of the draws.
    """
    random = np.random.RandomState(seed)
    draws = random.randint(0, len(first), (resamples, len(first)))
    values = np.array([mean_ap([first[i] for i in draw]) - mean_ap([second[i] for i in draw]) for draw in draws])
    low, high = np.nanpercentile(values, (2.5, 97.5))
    point = mean_ap(first) - mean_ap(second)
    return {"difference": round(point, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _area(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.astype(np.float64)
    area: np.ndarray = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return area


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter: np.ndarray = np.clip(high - low, 0, None).prod(axis=2)
    return inter
