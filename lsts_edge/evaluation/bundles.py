"""Run a bundle over annotated sequences, through the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.sources.picture import read_picture

if TYPE_CHECKING:
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["read_image", "run_bundle"]


def run_bundle(
    bundle: Bundle,
    annotations: AnnotationSet,
    *,
    keyframe_interval: float | None,
    engine: EngineOptions | None = None,
    progress: Progress = silent,
) -> dict[int, Boxes]:
    """Boxes of a bundle on every image, by image id.

    Args:
        bundle: an open bundle.
        annotations: sequences of frames.
        keyframe_interval: of the schedule; ``None`` takes every frame as the first of a video.
        engine: what runs it; None takes ONNX Runtime on the CPU.
        progress: told of frames done and frames in all.
    """
    from lsts_edge.runtime.detector import Detector

    results: dict[int, Boxes] = {}
    with Detector(bundle, engine, keyframe_interval=keyframe_interval or 1, score_threshold=0.0) as detector:
        for records in annotations.sequences().values():
            detector.reset("new-video")
            for record in records:
                if keyframe_interval is None:
                    detector.reset("requested")
                found = detector.push(read_image(record))
                results[record.image_id] = found.boxes
                progress("frames", len(results), len(annotations.images))
    return results


def read_image(record: ImageRecord) -> np.ndarray:
    """The frame, ``(H, W, 3)`` uint8 BGR.

    Raises:
        AnnotationError: if it cannot be read.
    """
    image, why = read_picture(record.path)
    if image is None:
        raise AnnotationError(f"image {record.path}", got=why, expected="a readable one", fix="Check the path.")
    return image
