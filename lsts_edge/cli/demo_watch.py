"""What a demo tells of a clip: the same detector runs on every frame beside, and both are counted and timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.agreement import AgreementOptions, measure_agreement
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["LEAST_SCORE", "BesidePerFrame", "Watched", "shown"]

LEAST_SCORE = 0.05
"""Both detectors tell boxes down to here: precision is an average over scores."""

_WARM_FRAMES = 5  # of either, left out of the times: an engine's first runs are slow
_BESIDE = 0.1


@dataclass(frozen=True)
class Watched:
    """Figures of one clip.

    Attributes:
        frames: of the clip.
        found: of them, frames in which a class that is there was shown.
        per_frame_found: likewise, by the detector on every frame.
        labels: shown boxes by class.
        agreement: by the score from which the per-frame detector's boxes are true; None where it finds nothing.
        mean_ms: a frame, from picture to boxes.
        per_frame_ms: likewise, of the detector on every frame.
    """

    frames: int
    found: int
    per_frame_found: int
    labels: Counter[str]
    agreement: dict[float, float | None]
    mean_ms: float
    per_frame_ms: float

    @property
    def speedup(self) -> float:
        """Times faster than the detector on every frame."""
        return self.per_frame_ms / self.mean_ms if self.mean_ms > 0 else 0.0


def shown(detections: Detections, score: float) -> Detections:
    """Without the boxes that score less."""
    return detections.select(detections.scores >= score)


class BesidePerFrame(Sink):
    """Hands on what is shown, and runs each frame again through a detector that sees all of it.

    The two take turns frame by frame, so what else the machine does disturbs both alike.
    """

    def __init__(
        self, per_frame: Detector, sinks: Iterable[Sink], *, shown_score: float, expected: Collection[str] = ()
    ) -> None:
        """Nothing is run yet.

        Args:
            per_frame: tells boxes down to ``LEAST_SCORE``.
            sinks: that are handed frames, and detections from ``shown_score`` on.
            shown_score: also the score from which the per-frame detector's boxes are true; 0.1 less and more besides.
            expected: classes that are to be seen in the clip.
        """
        super().__init__()
        self._per_frame = per_frame
        self._sinks = tuple(sinks)
        self._shown_score = shown_score
        self._expected = frozenset(expected)
        self._found = [0, 0]
        self._labels: Counter[str] = Counter()
        self._boxes: tuple[list[Boxes], list[Boxes]] = ([], [])
        self._ms: tuple[list[float], list[float]] = ([], [])
        self._ages: list[int] = []

    def write(self, frame: Frame, detections: Detections) -> None:
        """Take one frame."""
        whole = self._per_frame.push(frame.image, frame.time_s, damaged=frame.damaged)
        for at, one in enumerate((detections, whole)):
            self._boxes[at].append(one.boxes)
            self._ms[at].append(one.total_ms)
        self._ages.append(detections.feature_age)
        seen = shown(detections, self._shown_score)
        self._labels.update(seen.label_names)
        for at, one in enumerate((seen, shown(whole, self._shown_score))):
            self._found[at] += not self._expected.isdisjoint(one.label_names)
        for sink in self._sinks:
            sink.write(frame, seen)

    def finish(self) -> None:
        """Finish all."""
        for sink in self._sinks:
            sink.finish()

    def publish(self) -> None:
        """Publish all."""
        for sink in self._sinks:
            sink.publish()

    def settle(self) -> None:
        """Settle all."""
        for sink in self._sinks:
            sink.settle()

    def abandon(self) -> None:
        """Abandon all."""
        for sink in self._sinks:
            sink.abandon()

    def watched(self) -> Watched:
        """What the frames so far came to."""
        way, whole = (FrameBoxes.join(boxes) for boxes in self._boxes)
        clip, ages = np.zeros(len(self._ages), np.int64), np.array(self._ages, np.int64)
        scores = [round(self._shown_score + step, 3) for step in (-_BESIDE, 0, _BESIDE)]
        agreement = {
            score: measure_agreement(
                whole, way, clip, ages, AgreementOptions(score, self._shown_score, resamples=0)
            ).pooled
            for score in scores
            if 0 < score < 1
        }
        mean_ms, per_frame_ms = (float(np.mean(ms[_WARM_FRAMES:] or ms or [0.0])) for ms in self._ms)
        found, per_frame_found = self._found
        return Watched(len(self._ages), found, per_frame_found, self._labels, agreement, mean_ms, per_frame_ms)
