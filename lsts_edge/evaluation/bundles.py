"""Run a bundle over annotated sequences, through the runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.centred_order import check_centred
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.picture import read_picture

if TYPE_CHECKING:
    from lsts_edge.runtime.detections import Detections
    from lsts_edge.runtime.detector import Detector
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["AskedInterval", "detector_interval", "read_image", "run_bundle"]

AskedInterval = float | Literal["own"] | None
"""Frames from one keyframe to the next; ``own``: as the bundle has it; None: every frame is the first of a video."""


def run_bundle(
    bundle: Bundle,
    annotations: AnnotationSet,
    *,
    keyframe_interval: AskedInterval,
    centred: bool = False,
    engine: EngineOptions | None = None,
    ages: dict[int, int] | None = None,
    progress: Progress = silent,
) -> dict[int, Boxes]:
    """Boxes of a bundle on every image, by image id.

    Args:
        bundle: an open bundle.
        annotations: sequences of frames.
        keyframe_interval: of the schedule.
        centred: keyframes lie in the middle of their intervals.
        engine: what runs it; None takes ONNX Runtime on the CPU.
        ages: filled with the frames since the keyframe, by image id.
        progress: told of frames done and frames in all.

    Raises:
        OptionError: if the bundle cannot be run so.
        AnnotationError: if an image cannot be read.
    """
    from lsts_edge.runtime.detector import Detector

    if centred:
        check_centred(None if keyframe_interval == "own" else keyframe_interval)
    interval = detector_interval(keyframe_interval)
    results: dict[int, Boxes] = {}
    with Detector(bundle, engine, keyframe_interval=interval, score_threshold=0.0, centred=centred) as detector:
        for records in annotations.sequences().values():
            run = _centred(detector, records) if centred else _online(detector, records, keyframe_interval is None)
            for record, found in run:
                results[record.image_id] = found.boxes
                if ages is not None:
                    ages[record.image_id] = found.feature_age
                progress("frames", len(results), len(annotations.images))
    return results


def detector_interval(asked: AskedInterval) -> float | None:
    """As ``Detector`` takes it; where every frame starts afresh, its caller resets it before each."""
    return None if asked == "own" else asked or 1


def _online(
    detector: Detector, records: Sequence[ImageRecord], afresh: bool
) -> Iterator[tuple[ImageRecord, Detections]]:
    detector.reset("new-video")
    for record in records:
        if afresh:
            detector.reset("requested")
        yield record, detector.push(read_image(record))


def _centred(detector: Detector, records: Sequence[ImageRecord]) -> Iterator[tuple[ImageRecord, Detections]]:
    frames = ArraySource(read_image(record) for record in records)
    for record, (_, found) in zip(records, detector.run(frames), strict=True):
        yield record, found


def read_image(record: ImageRecord) -> np.ndarray:
    """The frame, ``(H, W, 3)`` uint8 BGR.

    Raises:
        AnnotationError: if it cannot be read.
    """
    image, why = read_picture(record.path)
    if image is None:
        raise AnnotationError(f"image {record.path}", got=why, expected="a readable one", fix="Check the path.")
    return image
