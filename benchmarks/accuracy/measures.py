"""The measures that only video has, as ``lsts-edge evaluate`` asks for them, taken of one run over the sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from lsts_edge.benchmarks.accuracy.result import Delays, VideoMeasures
from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.first_detection import measure_first_detections
from lsts_edge.evaluation.flicker import measure_flicker
from lsts_edge.evaluation.keyframe_distance import ap50_by_distance
from lsts_edge.evaluation.metrics import as_one_class
from lsts_edge.evaluation.streaming import StreamingAccuracy
from lsts_edge.evaluation.tracks import found_tracks, true_tracks
from lsts_edge.evaluation.vid import measure_vid

__all__ = ["METRICS", "measure_video", "rounded"]

METRICS = ("vid", "distance", "delay", "flicker")
"""Beside COCO's, which is always measured."""

_T = TypeVar("_T")


def measure_video(
    annotations: AnnotationSet,
    detections: Mapping[int, Boxes],
    distances: Mapping[int, int],
    metrics: Sequence[str],
    *,
    shown_score: float,
    class_agnostic: bool,
    streaming: StreamingAccuracy | None,
) -> VideoMeasures | None:
    """Take the measures asked for.

    Args:
        annotations: the truth.
        detections: by image id.
        distances: frames since the keyframe, by image id.
        metrics: of ``METRICS``.
        shown_score: from which boxes count as shown, for ``delay`` and ``flicker``.
        class_agnostic: count all classes as one.
        streaming: measured already.
    Returns:
        None if nothing was asked for.
    Raises:
        AnnotationError: if a measure follows objects and the annotations do not.
        OptionError: if distances are wanted and not known.
    """
    if not metrics and streaming is None:
        return None
    if class_agnostic:
        annotations = annotations.as_one_class()
        detections = {key: as_one_class(found) for key, found in detections.items()}
    follow = {"delay", "flicker"} & set(metrics)
    tracks = found_tracks(annotations, true_tracks(annotations), detections, shown_score=shown_score) if follow else []
    by_distance = ap50_by_distance(annotations, detections, distances) if "distance" in metrics else None
    return VideoMeasures(
        vid=rounded(measure_vid(annotations, detections)) if "vid" in metrics else None,
        ap50_by_distance=None
        if by_distance is None
        else rounded({str(key): value for key, value in by_distance.items()}),
        delay=rounded(Delays(*measure_first_detections(tracks))) if "delay" in metrics else None,
        flicker=rounded(measure_flicker(tracks)) if "flicker" in metrics else None,
        shown_score=shown_score if follow else None,
        streaming=None if streaming is None else rounded(streaming),
    )


def rounded(value: _T) -> _T:
    """The same with figures of four places, to store."""
    result: Any = value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: rounded(getattr(value, field.name)) for field in dataclasses.fields(value)}
        result = dataclasses.replace(value, **parts)
    elif isinstance(value, Mapping):
        result = {key: rounded(part) for key, part in value.items()}
    elif isinstance(value, tuple):
        result = tuple(rounded(part) for part in value)
    elif isinstance(value, (float, np.floating)):
        result = round(float(value), 4)
    return result  # type: ignore[no-any-return]
