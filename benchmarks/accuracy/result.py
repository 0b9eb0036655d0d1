"""The result of ``lsts-edge evaluate``: accuracy of a bundle or checkpoint, one row per schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.envelope import Precision, Result
from lsts_edge.evaluation.coco import Accuracy
from lsts_edge.evaluation.first_detection import FirstDetections
from lsts_edge.evaluation.flicker import Flicker
from lsts_edge.evaluation.streaming import StreamingAccuracy
from lsts_edge.evaluation.vid import VidAccuracy

__all__ = ["AccuracyData", "AccuracyResult", "AccuracyRow", "AccuracySettings", "Delays", "VideoMeasures"]


@dataclass(frozen=True)
class Delays:
    """Frames until objects are detected: of all, and of those that come into view after a video's first frame."""

    all_objects: FirstDetections
    later_objects: FirstDetections


@dataclass(frozen=True, kw_only=True)
class VideoMeasures:
    """What only video shows; None: not asked for.

    Attributes:
        vid: ImageNet VID's mean AP, and by motion.
        ap50_by_distance: by frames since the keyframe, as text.
        delay: until an object is detected for the first time.
        flicker: of boxes on objects that are there all the time.
        shown_score: from which boxes count as shown, for ``delay`` and ``flicker``.
        streaming: what somebody watching sees.
    """

    vid: VidAccuracy | None = None
    ap50_by_distance: Mapping[str, float | None] | None = None
    delay: Delays | None = None
    flicker: Flicker | None = None
    shown_score: float | None = None
    streaming: StreamingAccuracy | None = None


@dataclass(frozen=True, kw_only=True)
class AccuracyRow(Accuracy):
    """What a model reaches at one schedule.

    Attributes:
        model: its name.
        bundle_digest: of the bundle, where one was run.
        checkpoint: name of the file, where one was run.
        checkpoint_sha256: its digest.
        engine: that ran it; ``torch`` for a checkpoint, ``file`` for ready detections.
        provider: the engine's device.
        precision: of the graphs and of the engine.
        keyframe_interval: None: the heavy path on every frame.
        centred: keyframes lay in the middle of their intervals.
        annotations: name of the file.
        detections: name of the file or folder, where ready detections were read.
        seq_nms: how boxes were linked and rescored; None where they were not.
        video: the measures that only video has; None in results from before there were any.
    """

    model: str
    bundle_digest: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    engine: str
    provider: str
    precision: Precision
    keyframe_interval: int | float | None
    centred: bool = False
    annotations: str
    detections: str | None = None
    seq_nms: Literal["offline", "online"] | None = None
    video: VideoMeasures | None = None

    @property
    def label(self) -> str:
        """For tables."""
        if self.engine == "file":
            return f"{self.model} (detections){self._linked}"
        provider = "" if self.provider == "cpu" else f" {self.provider}"
        schedule = f"interval {self.keyframe_interval}" if self.keyframe_interval else "per frame"
        schedule += ", centred" if self.centred else ""
        return f"{self.model}, {self.engine}{provider} {self.precision.label}, {schedule}{self._linked}"

    @property
    def _linked(self) -> str:
        return f", Seq-NMS {self.seq_nms}" if self.seq_nms else ""


@dataclass(frozen=True)
class AccuracySettings:
    """``only``: the sequences measured; empty for all of the file."""

    only: tuple[str, ...]


@dataclass(frozen=True)
class AccuracyData:
    """One row per schedule, all over the same sequences."""

    rows: tuple[AccuracyRow, ...]


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Result):
    """Accuracy on annotated video."""

    kind: Literal["accuracy"] = "accuracy"
    bundle: None = None
    conditions: None = None
    settings: AccuracySettings
    data: AccuracyData
