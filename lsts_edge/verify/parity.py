"""What "the same" means between torch and an engine: tensor error, and a one-to-one match of boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes

__all__ = [
    "EXACT",
    "LOWERED",
    "LOWERED_OTHER_ENGINE",
    "NEAR_FRACTION",
    "SCORE_FLOOR",
    "TENSOR_TOLERANCE",
    "BoxMatch",
    "Doubt",
    "Limits",
    "ParityTotals",
    "doubt_of",
    "match_boxes",
    "match_loosely",
    "tensor_error",
]

TENSOR_TOLERANCE = 1e-4
SCORE_FLOOR = 0.05
SCORE_TOLERANCE = 1e-3
MIN_IOU = 0.99
NEAR_FRACTION = 0.01
"""At most this part of the boxes may differ because they lie within ``SCORE_TOLERANCE`` of a threshold."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What may differ.

    Attributes:
        tensor_error: largest error of a tensor.
        unmatched_fraction: part of the boxes that may be without a partner.
        loose: compare strong boxes by ``match_loosely``, not all of them exactly.
    """

    tensor_error: float = TENSOR_TOLERANCE
    unmatched_fraction: float = 0.0
    loose: bool = False

    @property
    def score_floor(self) -> float:
        """Boxes that score less are not compared."""
        return STRONG_SCORE if self.loose else SCORE_FLOOR


EXACT = Limits()
"""Between float32 graphs and torch."""

LOWERED = Limits(tensor_error=0.25, unmatched_fraction=0.2, loose=True)
"""Between graphs below float32 and their recording, on the engine that it was made with."""

LOWERED_OTHER_ENGINE = Limits(tensor_error=1.0, unmatched_fraction=0.2, loose=True)
"""On another engine: it rounds its own way, by one step of 255, in every layer, and the memory carries that on. The
boxes decide; a tensor that is off by as much as its largest value is wrong in any engine."""

STRONG_SCORE = 0.3
LOOSE_IOU = 0.5
LOOSE_SCORE_TOLERANCE = 0.2


@dataclass(frozen=True)
class BoxMatch:
    """Outcome of one frame: reference boxes that count, boxes without a partner, and those near a threshold."""

    boxes: int
    unmatched: int
    near_threshold: int


@dataclass(frozen=True)
class Doubt:
    """Where the reference's own answer hangs on a rounding.

    Attributes:
        fragile: ``(D,)`` bool, for each of its boxes: lost when its feature changes a little.
        extra: boxes that it then gives instead.
    """

    fragile: npt.NDArray[np.bool_]
    extra: Boxes


@dataclass
class ParityTotals:
    """Sums over the frames of one program set.

    Attributes:
        tensor_errors: slot -> largest error of any frame.
        worst: slot and frame of the largest error of all.
    """

    frames: int = 0
    boxes: int = 0
    unmatched: int = 0
    near_threshold: int = 0
    max_tensor_error: float = 0.0
    worst: str = ""
    tensor_errors: dict[str, float] = field(default_factory=dict)
    limits: Limits = EXACT

    def add_tensor(self, slot: str, frame: int, error: float) -> None:
        """Count one tensor of one frame; an error that is no number counts as infinite."""
        error = error if error == error else float("inf")
        self.tensor_errors[slot] = max(error, self.tensor_errors.get(slot, 0.0))
        if error > self.max_tensor_error or not self.worst:
            self.max_tensor_error, self.worst = error, f"{slot} in frame {frame}"

    def add_boxes(self, match: BoxMatch) -> None:
        """Count the boxes of one frame."""
        self.boxes += match.boxes
        self.unmatched += match.unmatched
        self.near_threshold += match.near_threshold

    @property
    def passed(self) -> bool:
        """Whether everything measured is within the definition's limits."""
        limits = self.limits
        same_boxes = self.unmatched <= limits.unmatched_fraction * self.boxes
        same_boxes &= self.near_threshold <= NEAR_FRACTION * self.boxes
        return self.frames > 0 and same_boxes and self.max_tensor_error <= limits.tensor_error


def tensor_error(got: npt.NDArray[Any], wanted: npt.NDArray[Any], scale: float) -> float:
    """``max|got - wanted| / scale``, where ``scale`` is the largest magnitude of the whole reference tensor.

    Infinite where a value is not finite or the shapes differ; a reference of zeros is compared absolutely.
    """
    if got.shape != wanted.shape or not np.isfinite(got).all() or not np.isfinite(wanted).all():
        return float("inf")
    difference = float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
    return difference / (scale if scale > 0 else 1.0)


def match_boxes(
    wanted: Boxes, got: Boxes, *, nms_iou: float | None, max_detections: int, doubt: Callable[[], Doubt] | None = None
) -> BoxMatch:
    """Pair the boxes that score at least ``SCORE_FLOOR``: same class, IoU >= 0.99, score within 1e-3.

    A box without a partner counts as near a threshold, not as wrong, where a rounding decides: its score is within
    1e-3 of the floor or of the score at which the list was cut, its IoU with a box of its class in the other list is
    within 1e-3 of the suppression limit, or the reference's own answer changes there when its task feature changes by
    less than the tensor tolerance (``doubt``: proposals are rounded to pixels, ranked and suppressed on the way).

    Args:
        wanted: the reference.
        got: what is checked.
        nms_iou: suppression limit of the head; None where it suppresses nothing.
        max_detections: length at which the head cuts its list.
        doubt: asked only when a box has no partner.
    """
    alone_wanted, alone_got = _alone(wanted, got)
    limit = np.inf if nms_iou is None else nms_iou
    unmatched = near = 0
    doubtful = doubt() if doubt is not None and len(alone_wanted) + len(alone_got) else None
    strange = None if doubtful is None else _alone(got, doubtful.extra)[0]
    for mine, other, alone in ((wanted, got, alone_wanted), (got, wanted, alone_got)):
        cut = other.scores.min() if len(other.scores) >= max_detections else None
        for index in alone:
            score = float(mine.scores[index])
            if score < SCORE_FLOOR:
                continue
            same = other.labels == mine.labels[index]
            limits = np.abs(mine.select(np.array([index])).iou(other.select(same)) - limit)
            is_near = score - SCORE_FLOOR <= SCORE_TOLERANCE
            is_near |= cut is not None and score - cut <= SCORE_TOLERANCE
            is_near |= bool((limits <= SCORE_TOLERANCE).any())
            if doubtful is not None and strange is not None:
                is_near |= bool(doubtful.fragile[index]) if mine is wanted else index not in strange
            near += is_near
            unmatched += not is_near
    return BoxMatch(int((wanted.scores >= SCORE_FLOOR).sum()), unmatched, near)


def match_loosely(wanted: Boxes, got: Boxes) -> BoxMatch:
    """Strong boxes of either list need one in the other: same class, IoU >= 0.5, score within 0.2.

    ``boxes`` counts the strong boxes of both lists, for a box too many is as wrong as one too few.
    """
    boxes = unmatched = 0
    for mine, other in ((wanted, got), (got, wanted)):
        strong = np.flatnonzero(mine.scores >= STRONG_SCORE)
        close = np.abs(mine.scores[strong, None].astype(np.float64) - other.scores[None]) <= LOOSE_SCORE_TOLERANCE
        fits = close & (mine.labels[strong, None] == other.labels[None])
        fits &= mine.select(strong).iou(other) >= LOOSE_IOU
        boxes += len(strong)
        unmatched += int((~fits.any(axis=1)).sum())
    return BoxMatch(boxes, unmatched, 0)


def doubt_of(boxes: Boxes, others: Iterable[Boxes]) -> Doubt:
    """What changes between the reference's boxes and those it gives for slightly other features."""
    fragile = np.zeros(len(boxes), bool)
    extra = [Boxes.empty(boxes.corners)]
    for other in others:
        lost, new = _alone(boxes, other)
        fragile[lost] = True
        extra.append(other.select(new))
    return Doubt(fragile, Boxes.join(extra))


def _alone(first: Boxes, second: Boxes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of boxes without a partner in the other list, of those not clearly below the floor."""
    rows, columns = (np.flatnonzero(boxes.scores >= SCORE_FLOOR - SCORE_TOLERANCE) for boxes in (first, second))
    overlap = first.select(rows).iou(second.select(columns))
    close = np.abs(first.scores[rows, None].astype(np.float64) - second.scores[None, columns]) <= SCORE_TOLERANCE
    fits = (overlap >= MIN_IOU) & close & (first.labels[rows, None] == second.labels[None, columns])
    taken = np.zeros(len(columns), bool)
    alone = []
    for index in range(len(rows)):
        candidates = np.flatnonzero(fits[index] & ~taken)
        if len(candidates):
            taken[candidates[np.argmax(overlap[index, candidates])]] = True
        else:
            alone.append(index)
    return rows[alone], columns[~taken]
