"""Run a bundle over annotated sequences as a live stream, with the times it takes or with drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.bundles import AskedInterval, detector_interval, read_image
from lsts_edge.evaluation.streaming import Latencies, Streamed, Worker, stream_detections
from lsts_edge.progress import Progress, silent

if TYPE_CHECKING:
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["stream_bundle"]


def stream_bundle(
    bundle: Bundle,
    annotations: AnnotationSet,
    *,
    keyframe_interval: AskedInterval,
    frames_per_s: float,
    worker: Worker,
    latencies: Latencies | None = None,
    engine: EngineOptions | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Streamed:
    """What a bundle shows: frames that it has no time for are never seen by it, nor by its memory.

    Args:
        bundle: an open bundle.
        annotations: sequences of frames.
        keyframe_interval: counted in frames that are processed.
        frames_per_s: of the stream.
        worker: see ``StreamingAccuracy``.
        latencies: to draw from; None takes the time that each frame takes here, reading it not counted.
        engine: what runs it; None takes ONNX Runtime on the CPU.
        seed: of the draws.
        progress: told of the position in the stream and its length.
    """
    from lsts_edge.runtime.detector import Detector

    random = np.random.RandomState(seed)
    position = {record.image_id: index for index, record in enumerate(annotations.images)}
    interval = detector_interval(keyframe_interval)
    with Detector(bundle, engine, keyframe_interval=interval, score_threshold=0.0) as detector:

        def detect(records: Sequence[ImageRecord], index: int) -> tuple[Boxes, float]:
            if index == 0:
                detector.reset("new-video")
            elif keyframe_interval is None:
                detector.reset("requested")
            found = detector.push(read_image(records[index]))
            progress("frames", position[records[index].image_id] + 1, len(position))
            if latencies is None:
                return found.boxes, found.total_ms
            return found.boxes, latencies.draw(found.kind == "propagated", random)

        return stream_detections(annotations, detect, frames_per_s=frames_per_s, worker=worker)
