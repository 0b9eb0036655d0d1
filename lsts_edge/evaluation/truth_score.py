"""The score from which on a detector's own boxes count as true: that of best F1 on labelled stills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import CheckFailed
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.metrics import Matches, sequence_matches

__all__ = ["TruthScore", "truth_score"]

_IOU = 0.5
_STEPS = np.arange(5, 96) / 100  # a score is stated with two digits, so it is chosen among those


@dataclass(frozen=True)
class TruthScore:
    """A score and what it reaches on the labelled stills.

    Attributes:
        score: boxes of it or more are kept.
        f1: harmonic mean of precision and recall, boxes of all classes together, at IoU 0.5.
        precision: share of kept boxes that are right.
        recall: share of objects found by them.
        images: stills.
        objects: labelled in them.
    """

    score: float
    f1: float
    precision: float
    recall: float
    images: int
    objects: int


def truth_score(annotations: AnnotationSet, detections: Mapping[int, Boxes]) -> TruthScore:
    """Find the score of best F1.

    Chosen once a detector, before any way of running it is measured. Of equal ones the highest is taken.

    Args:
        annotations: labelled stills, in the detector's own classes.
        detections: by image id, down to a score of 0.05.
    Raises:
        CheckFailed: if nothing is labelled or nothing is found.
    """
    parts = [match for image in sequence_matches(annotations, detections, _IOU).values() for match in image]
    matches = Matches.join(parts)
    counted = ~matches.dropped
    scores, correct = matches.scores[counted], matches.correct[counted]
    # Best boxes match first, so those above a score match each other as if there were no others.
    order = np.argsort(-scores, kind="stable")
    kept = np.searchsorted(-scores[order], -_STEPS, side="right")
    hits = np.concatenate(([0], np.cumsum(correct[order])))[kept]
    f1 = 2 * hits / np.maximum(kept + matches.positives, 1)
    best = len(_STEPS) - 1 - int(f1[::-1].argmax())
    if not hits[best]:
        raise CheckFailed(
            "score of best F1",
            got=f"{matches.positives} labelled objects, none of them found",
            expected="stills on which the detector finds something",
            fix="Give stills with objects of the detector's classes, or the score itself.",
        )
    return TruthScore(
        score=float(_STEPS[best]),
        f1=float(f1[best]),
        precision=float(hits[best] / kept[best]),
        recall=float(hits[best] / matches.positives),
        images=len(annotations.images),
        objects=matches.positives,
    )
