"""Accuracy as somebody watching sees it: each frame is judged by the newest result that is there when it comes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.coco import measure

__all__ = [
    "Latencies",
    "Streamed",
    "StreamingAccuracy",
    "Worker",
    "drawn_stream",
    "measure_streaming",
    "shown_results",
    "stream_detections",
]

Worker = Literal["one", "pipeline"]
_ROUNDING = 1e-9  # of a frame's period: n frames of latency are n frames


@dataclass(frozen=True)
class Latencies:
    """Times from frame to boxes, of which one is drawn for each frame.

    Attributes:
        keyframe_ms: of keyframes, first frames included.
        propagated_ms: of the others.
    """

    keyframe_ms: tuple[float, ...]
    propagated_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("keyframe", self.keyframe_ms), ("propagated", self.propagated_ms)):
            if not values or not all(math.isfinite(value) and value >= 0 for value in values):
                got, fix = f"{len(values)} values", "Measure a clip with both kinds of frames."
                raise OptionError(f"latencies of {name} frames", got=got, expected="times from 0 ms on", fix=fix)

    def draw(self, propagated: bool, random: np.random.RandomState) -> float:
        """One of the times of that kind, ms."""
        values = self.propagated_ms if propagated else self.keyframe_ms
        return values[random.randint(len(values))]


@dataclass(frozen=True)
class Streamed:
    """What was shown for each frame of a stream.

    Attributes:
        boxes: by image id, those of the newest result.
        ages: ``(F,)`` int, how many frames old it was; -1 where there was no result yet.
        latencies_ms: of the frames that were processed.
    """

    boxes: Mapping[int, Boxes]
    ages: np.ndarray
    latencies_ms: np.ndarray


@dataclass(frozen=True)
class StreamingAccuracy:
    """Accuracy of what is shown.

    Attributes:
        ap50: as in ``coco.Accuracy``.
        ap: likewise.
        ap50_interval: likewise.
        frames_per_s: of the stream.
        worker: ``one`` takes the newest frame when it is free, and leaves out the others; ``pipeline`` takes them all.
        latency: where it comes from.
        mean_latency_ms: of the frames that were processed.
        processed: share of the frames that were processed.
        mean_age_frames: of the results shown; None where none was.
    """

    ap50: float
    ap: float
    ap50_interval: tuple[float, float]
    frames_per_s: float
    worker: Worker
    latency: str
    mean_latency_ms: float
    processed: float
    mean_age_frames: float | None


def shown_results(frames: int, period_ms: float, process: Callable[[int], float], worker: Worker) -> np.ndarray:
    """Which frame's result is shown when each frame comes: the newest that is done by then.

    Frame ``i`` comes at ``i * period_ms``. Source: Li, Wang, Ramanan, "Towards Streaming Perception", ECCV 2020.

    Args:
        frames: of the stream.
        period_ms: from frame to frame.
        process: called with the index of each frame that is processed, in order; gives the time it takes, ms.
        worker: see ``StreamingAccuracy``.
    Returns:
        ``(frames,)`` int64, -1 where no result is there yet.
    """
    done_at: list[tuple[float, int]] = []  # in periods
    index, free = 0, 0.0
    while index < frames:
        start = float(index)
        if worker == "one":
            start = max(start, free)
            index = min(max(index, math.floor(start + _ROUNDING)), frames - 1)
        free = start + process(index) / period_ms
        done_at.append((free, index))
        index += 1
    shown = np.full(frames, -1, np.int64)
    for finish, source in done_at:
        from_frame = max(0, math.ceil(finish - _ROUNDING))
        shown[from_frame:] = np.maximum(shown[from_frame:], source)
    return shown


def stream_detections(
    annotations: AnnotationSet,
    detect: Callable[[Sequence[ImageRecord], int], tuple[Boxes, float]],
    *,
    frames_per_s: float,
    worker: Worker,
) -> Streamed:
    """Feed every sequence as a stream.

    Args:
        annotations: the sequences, at the stream's rate.
        detect: given a sequence and the index of the frame to process, gives its boxes and the time they took, ms.
            A sequence's frames come in order, the first of them always.
        frames_per_s: of the stream.
        worker: see ``StreamingAccuracy``.
    Raises:
        OptionError: if the rate is not positive.
    """
    if not (math.isfinite(frames_per_s) and frames_per_s > 0):
        raise OptionError("frames per second", got=frames_per_s, expected="above 0", fix="Give the camera's rate.")
    boxes: dict[int, Boxes] = {}
    ages: list[int] = []
    latencies: list[float] = []
    for records in annotations.sequences().values():
        results: dict[int, Boxes] = {}
        process = functools.partial(_processed, detect, records, results, latencies)
        shown = shown_results(len(records), 1e3 / frames_per_s, process, worker)
        for index, source in enumerate(shown.tolist()):
            boxes[records[index].image_id] = results[source] if source >= 0 else Boxes.empty()
            ages.append(index - source if source >= 0 else -1)
    return Streamed(boxes, np.array(ages), np.array(latencies))


def drawn_stream(
    annotations: AnnotationSet,
    detections: Mapping[int, Boxes],
    distances: Mapping[int, int],
    latencies: Latencies,
    *,
    frames_per_s: float,
    worker: Worker,
    seed: int = 0,
) -> Streamed:
    """Stream boxes that are known for every frame, with latencies drawn by kind of frame.

    With one worker some frames are not processed; their kinds, and what was carried through them, stay those of the
    run over all frames. A bundle can be run as a stream instead.
    """
    random = np.random.RandomState(seed)

    def detect(records: Sequence[ImageRecord], index: int) -> tuple[Boxes, float]:
        key = records[index].image_id
        return detections.get(key, Boxes.empty()), latencies.draw(distances[key] > 0, random)

    return stream_detections(annotations, detect, frames_per_s=frames_per_s, worker=worker)


def measure_streaming(
    annotations: AnnotationSet,
    streamed: Streamed,
    *,
    frames_per_s: float,
    worker: Worker,
    latency: str,
    class_agnostic: bool = False,
    resamples: int = 1000,
) -> StreamingAccuracy:
    """Judge what was shown by the frames that were there.

    Args:
        annotations: the truth.
        streamed: what was shown.
        frames_per_s: of the stream.
        worker: of the stream.
        latency: where it comes from, in words.
        class_agnostic: count all classes as one.
        resamples: of the bootstrap over the sequences.
    """
    accuracy = measure(annotations, streamed.boxes, class_agnostic=class_agnostic, resamples=resamples)
    known = streamed.ages[streamed.ages >= 0]
    return StreamingAccuracy(
        ap50=accuracy.ap50,
        ap=accuracy.ap,
        ap50_interval=accuracy.ap50_interval,
        frames_per_s=frames_per_s,
        worker=worker,
        latency=latency,
        mean_latency_ms=float(streamed.latencies_ms.mean()),
        processed=len(streamed.latencies_ms) / len(streamed.ages),
        mean_age_frames=float(known.mean()) if len(known) else None,
    )


def _processed(
    detect: Callable[[Sequence[ImageRecord], int], tuple[Boxes, float]],
    records: Sequence[ImageRecord],
    results: dict[int, Boxes],
    latencies_ms: list[float],
    index: int,
) -> float:
    results[index], took_ms = detect(records, index)
    latencies_ms.append(took_ms)
    return took_ms
