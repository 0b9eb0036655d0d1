"""How far a cheaper way of running a detector agrees with the detector on every frame: no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lsts_edge.errors import OptionError, ShapeError
from lsts_edge.evaluation.clip_bootstrap import drawn_counts, drawn_precision
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.evaluation.judging import Judged, judge
from lsts_edge.evaluation.metrics import Matches, average_precision
from lsts_edge.evaluation.new_objects import new_objects
from lsts_edge.kinds import check_fields

__all__ = ["Agreement", "AgreementOptions", "agreement_difference", "measure_agreement"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class AgreementOptions:
    """What counts as agreement; fixed before any way is measured, for the figure moves with it.

    Attributes:
        truth_score: the detector's own boxes of this score or more are the truth.
        shown_score: boxes of a way from this score on are counted as shown: for recall, misplaced and false boxes.
        least_boxes: classes with fewer true boxes are left out of the mean over classes.
        resamples: of the bootstrap over clips; 0 gives no intervals.
        seed: of its draws.
    """

    truth_score: float
    shown_score: float = 0.3
    least_boxes: int = 20
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("truth_score", "shown_score"):
            if not 0 < getattr(self, name) < 1:
                fix = "Take the score of best F1 on labelled stills."
                raise OptionError(f"option {name}", got=getattr(self, name), expected="above 0, below 1", fix=fix)
        if self.least_boxes < 1 or not 0 <= self.resamples <= 100_000:
            got = f"{self.least_boxes} boxes, {self.resamples} resamples"
            expected = "at least 1 box, 0 to 100000 resamples"
            raise OptionError("options of agreement", got=got, expected=expected, fix="Leave them at 20 and 1000.")


@dataclass(frozen=True)
class Agreement:
    """What a way keeps of the detector's own boxes. None: undefined, there is nothing to find.

    Attributes:
        truth_score: the detector's boxes from here on are the truth.
        pooled: AP50 over all boxes, a box's class must be right.
        pooled_interval: 95 % over the clips.
        class_mean: mean of AP50 over the classes with enough true boxes.
        class_mean_interval: 95 % over the clips.
        by_distance: pooled AP50 by frames since the keyframe; 0 is the keyframe itself.
        new_recall: share of objects that the last keyframe did not show that are found in propagated frames.
        misplaced_per_frame: shown boxes of a propagated frame that are not right but overlap a true box of their
            class by 0.3: loose or double ones.
        false_per_frame: shown boxes of a propagated frame that overlap no true box of their class so far.
        true_boxes: in all frames.
        new_boxes: those of new objects.
        classes: in ``class_mean``.
        frames: measured.
        propagated_frames: of them.
        clips: they come from.
    """

    truth_score: float
    pooled: float | None
    pooled_interval: Interval | None
    class_mean: float | None
    class_mean_interval: Interval | None
    by_distance: Mapping[int, float | None]
    new_recall: float | None
    misplaced_per_frame: float | None
    false_per_frame: float | None
    true_boxes: int
    new_boxes: int
    classes: int
    frames: int
    propagated_frames: int
    clips: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, figures rounded to four places, distances as words."""
        plain = asdict(self)
        plain["by_distance"] = {str(distance): value for distance, value in self.by_distance.items()}
        rounded: dict[str, Any] = _rounded(plain)
        return rounded


def measure_agreement(
    detector: FrameBoxes, way: FrameBoxes, clips: np.ndarray, distances: np.ndarray, options: AgreementOptions
) -> Agreement:
    """Compare a way's boxes with the detector's on the same frames.

    Args:
        detector: its boxes on every frame, down to a low score: 0.05, say.
        way: boxes of the way, keyframes included.
        clips: ``(F,)`` int, clip of each frame, 0 up; frames of a clip lie together, in order.
        distances: ``(F,)`` int, frames since the way's last keyframe; 0 on a keyframe, and for a way without any.
        options: what counts.
    Raises:
        ShapeError: if the four are not of the same frames.
    """
    _check(detector, way, clips, distances)
    judged = _judge_at(detector, way, options.truth_score)
    truth, found = judged.truth, judged.found
    counts = drawn_counts(int(clips.max(initial=-1)) + 1, options.resamples, options.seed)
    everything = np.ones(len(found), bool), np.ones(len(truth), bool)
    classes = _classes(judged, options.least_boxes)
    per_class = [_precision(judged, *part) for part in classes]
    propagated = distances > 0
    new = new_objects(detector, clips, distances, _KNOWN_SCORE)[detector.boxes.scores >= options.truth_score]
    shown = found.boxes.scores >= options.shown_score
    wrong = shown & ~judged.correct & propagated[found.frame]
    loose = judged.overlap >= _LOOSE_IOU
    found_new = new & (judged.taken_by >= 0)
    found_new[found_new] = shown[judged.taken_by[found_new]]
    by_distance = {
        int(distance): _precision(judged, distances[found.frame] == distance, distances[truth.frame] == distance)
        for distance in np.unique(distances)
    }
    return Agreement(
        truth_score=options.truth_score,
        pooled=_precision(judged, *everything),
        pooled_interval=_interval(_drawn(judged, clips, counts, *everything)),
        class_mean=float(np.mean([value for value in per_class if value is not None])) if per_class else None,
        class_mean_interval=_interval(_drawn_mean(judged, clips, counts, classes)),
        by_distance=by_distance,
        new_recall=float(found_new.sum() / new.sum()) if new.any() else None,
        misplaced_per_frame=_per_frame(wrong & loose, propagated, truth),
        false_per_frame=_per_frame(wrong & ~loose, propagated, truth),
        true_boxes=len(truth),
        new_boxes=int(new.sum()),
        classes=len(classes),
        frames=truth.frames,
        propagated_frames=int(propagated.sum()),
        clips=len(np.unique(clips)),
    )


def agreement_difference(
    detector: FrameBoxes, first: FrameBoxes, second: FrameBoxes, clips: np.ndarray, options: AgreementOptions
) -> dict[str, float | None]:
    """``first`` minus ``second`` in pooled agreement, with a 95 % interval: both are scored on the same drawn clips.

    Args:
        detector: its boxes on every frame.
        first: boxes of one way.
        second: boxes of another.
        clips: ``(F,)`` int, clip of each frame.
        options: what counts.
    Returns:
        ``difference``, ``low`` and ``high``; None where the detector finds nothing.
    """
    counts = drawn_counts(int(clips.max(initial=-1)) + 1, options.resamples, options.seed)
    points: list[float | None] = []
    draws: list[np.ndarray] = []
    for way in (first, second):
        _check(detector, way, clips, np.zeros_like(clips))
        judged = _judge_at(detector, way, options.truth_score)
        everything = np.ones(len(judged.found), bool), np.ones(len(judged.truth), bool)
        points.append(_precision(judged, *everything))
        draws.append(_drawn(judged, clips, counts, *everything))
    if points[0] is None or points[1] is None:
        return {"difference": None, "low": None, "high": None}
    low, high = _interval(draws[0] - draws[1]) or (None, None)
    return {"difference": points[0] - points[1], "low": low, "high": high}


_KNOWN_SCORE = 0.1  # an object that the detector saw, however faintly, is no new one
_LOOSE_IOU = 0.3
_Part = tuple[np.ndarray, np.ndarray]  # masks over the boxes found and the true ones


def _judge_at(detector: FrameBoxes, way: FrameBoxes, truth_score: float) -> Judged:
    return judge(detector.where(detector.boxes.scores >= truth_score), way)


def _classes(judged: Judged, least_boxes: int) -> list[_Part]:
    labels, counts = np.unique(judged.truth.boxes.labels, return_counts=True)
    enough = labels[counts >= least_boxes]
    return [(judged.found.boxes.labels == label, judged.truth.boxes.labels == label) for label in enough]


def _precision(judged: Judged, of_found: np.ndarray, of_truth: np.ndarray) -> float | None:
    positives = int(of_truth.sum())
    if not positives:
        return None
    correct = judged.correct[of_found]
    return average_precision(
        Matches(judged.found.boxes.scores[of_found], correct, np.zeros(len(correct), bool), positives)
    )


def _drawn(
    judged: Judged, clips: np.ndarray, counts: np.ndarray, of_found: np.ndarray, of_truth: np.ndarray
) -> np.ndarray:
    positives = np.bincount(clips[judged.truth.frame[of_truth]], minlength=counts.shape[1])
    found = judged.found
    return drawn_precision(
        found.boxes.scores[of_found], judged.correct[of_found], clips[found.frame[of_found]], positives, counts
    )


def _drawn_mean(judged: Judged, clips: np.ndarray, counts: np.ndarray, classes: list[_Part]) -> np.ndarray:
    if not classes:
        return np.full(len(counts), np.nan)
    values = np.stack([_drawn(judged, clips, counts, *part) for part in classes])
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _interval(values: np.ndarray) -> Interval | None:
    """95 %, of the drawings that hold something to find."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _per_frame(boxes: np.ndarray, propagated: np.ndarray, truth: FrameBoxes) -> float | None:
    return float(boxes.sum() / propagated.sum()) if propagated.any() and len(truth) else None


def _check(detector: FrameBoxes, way: FrameBoxes, clips: np.ndarray, distances: np.ndarray) -> None:
    lengths = (detector.frames, way.frames, len(clips), len(distances))
    if len(set(lengths)) > 1:
        fix = "Give the boxes, the clip and the distance of the same frames."
        raise ShapeError("frames to compare", got=lengths, expected="four equal numbers", fix=fix)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
