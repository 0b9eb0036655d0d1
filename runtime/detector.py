"""Frames in, boxes out: one detector per stream, with a memory that is dropped when it no longer fits."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.errors import OptionError, StateConcurrent
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Kind, Pipeline
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import FrameInfo, Scheduler
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.timings import Timings

__all__ = ["Detector", "ResetReason"]

ResetReason = Literal["new-video", "size-change", "time-gap", "decode-error", "non-finite", "requested"]

_GAP_S = 2.0
_GAP_INTERVALS = 5


@dataclass
class _Stream:
    """Where a stream stands. ``reset_reason`` waits for the frame that starts the memory anew."""

    frame: int = 0
    feature_age: int = 0
    shape: tuple[int, ...] | None = None
    tainted: bool = False
    reset_reason: str | None = None


class Detector:
    """Detects objects in one video stream, fully on keyframes and by propagation in between.

    ``push`` takes frames one at a time; ``run`` reads a video. Several streams need several detectors:
    ``share`` makes another one on the same loaded graphs. Use it as a context manager, or call ``close``.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        engine: EngineOptions | None = None,
        *,
        keyframe_interval: int | None = None,
        score_threshold: float = 0.3,
        scheduler: Scheduler | None = None,
        expect_digest: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Verify the bundle, load its graphs and wait for the first frame.

        Args:
            bundle: an open bundle or the path of one.
            engine: what runs it and how, ``EngineOptions("openvino", threads=2)`` say; None takes ONNX Runtime on the
                CPU.
            keyframe_interval: frames from one keyframe to the next; None takes the bundle's.
            score_threshold: boxes scoring less are left out, 0 to 1.
            scheduler: decides which frames are keyframes, in place of the fixed interval.
            expect_digest: refuse any other bundle; for a path.
            clock: monotonic seconds, handed to the scheduler.
        Raises:
            OptionError: if an option is out of range.
            BundleError: if the bundle is refused.
            ProviderError: if the engine or provider is missing or fails.
            OpLibraryError: if the custom form's library is missing or does not fit.
        """
        if not 0.0 <= score_threshold <= 1.0:  # false for NaN too
            raise OptionError("score threshold", got=score_threshold, expected="0..1", fix="Use 0.3 to show boxes.")
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle, expect_digest)
        elif expect_digest is not None:
            raise OptionError(
                "expected digest and bundle",
                got="a bundle that is open",
                expected="its path",
                fix="Give the digest to Bundle.open, or the path here.",
            )
        if scheduler is None:
            scheduler = FixedInterval(
                bundle.manifest.keyframe_interval if keyframe_interval is None else keyframe_interval
            )
        elif keyframe_interval is not None:
            raise OptionError(
                "keyframe interval and scheduler", got="both", expected="one of them", fix="Give the scheduler alone."
            )
        self._set_up(bundle, Pipeline(bundle, engine), scheduler, score_threshold, clock)

    def _set_up(
        self,
        bundle: Bundle,
        pipeline: Pipeline,
        scheduler: Scheduler,
        score_threshold: float,
        clock: Callable[[], float],
    ) -> None:
        self.bundle = bundle
        self.pipeline = pipeline
        self.scheduler = scheduler
        self.score_threshold = score_threshold
        self._clock = clock
        self._preprocess = Preprocessor(bundle.manifest.input)
        self._stream = _Stream()
        self._gaps = _GapWatch()
        self._busy = threading.Lock()

    def share(self, scheduler: Scheduler | None = None) -> Detector:
        """A detector for another stream on the same loaded graphs.

        Args:
            scheduler: for the other stream; needed where this one's scheduler keeps state of its own.
        """
        other = object.__new__(Detector)
        other._set_up(
            self.bundle, self.pipeline.share(), scheduler or self.scheduler, self.score_threshold, self._clock
        )
        return other

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the stream; the sessions go when the last detector on them does."""
        self.pipeline.reset()
        self._stream = _Stream()

    def push(self, frame_hwc_bgr_u8: np.ndarray, time_s: float | None = None, *, damaged: bool = False) -> Detections:
        """Detect on the next frame of the stream.

        A damaged frame gets boxes but never enters the memory: it is propagated from the last good keyframe, and
        the next good frame starts afresh.

        Args:
            frame_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR.
            time_s: the frame's time stamp in seconds, where known.
            damaged: the decoder reports that the picture may be wrong.
        Raises:
            ShapeError: if the frame is no such picture; the stream goes on as if it had not been pushed.
            StateConcurrent: if another push is under way on this detector.
            ProviderError: if the engine fails.
        """
        if not self._busy.acquire(blocking=False):
            raise StateConcurrent(
                "two pushes at once on one detector",
                got="a push while another runs",
                expected="one stream, one thread at a time",
                fix="Give each stream its own detector: detector.share().",
            )
        try:
            return self._push(frame_hwc_bgr_u8, time_s, damaged)
        finally:
            self._busy.release()

    def reset(self, reason: str = "requested") -> None:
        """Drop the memory and start counting frames' ages anew; the next result states ``reason``.

        Does nothing where no frame has been pushed yet.
        """
        if not self._busy.acquire(blocking=False):
            raise StateConcurrent(
                "reset during a push",
                got="a push under way",
                expected="one thread at a time",
                fix="Reset between frames, from the thread that pushes them.",
            )
        try:
            self._drop_memory(reason)
        finally:
            self._busy.release()

    def run(self, source: Source | str | os.PathLike[str]) -> Iterator[tuple[Frame, Detections]]:
        """Detect on every frame of a video, as a new stream.

        Args:
            source: an open source, or what ``open_source`` takes: a file, an image folder, a camera, a URL.
        Yields:
            The frame as read and what was found in it.
        Raises:
            StreamError: if the source cannot be read, ends at once or breaks off.
        """
        opened = open_source(source) if isinstance(source, (str, os.PathLike)) else source
        with opened:
            self.start_stream()
            for frame in opened:
                if frame.lost_before and not frame.damaged:
                    self.reset("decode-error")
                yield frame, self.push(frame.image, frame.time_s, damaged=frame.damaged)

    def start_stream(self) -> None:
        """Begin a new video: frame numbers start at 0 and nothing is carried over."""
        self.reset("new-video")
        self._stream = _Stream(reset_reason=self._stream.reset_reason)
        self._gaps = _GapWatch()

    def _drop_memory(self, reason: str) -> None:
        if self.pipeline.has_memory or self._stream.reset_reason is not None:
            self._stream.reset_reason = reason
        self.pipeline.reset()

    def _push(self, frame: np.ndarray, time_s: float | None, damaged: bool) -> Detections:
        begin_ns = time.perf_counter_ns()
        image, geometry = self._preprocess(frame)
        stages_ms = {"preprocess": (time.perf_counter_ns() - begin_ns) / 1e6}
        self._drop_what_does_not_fit(frame.shape, time_s, damaged)
        kind, why = self._decide(time_s, damaged)
        slots = self.pipeline.step(image, kind, remember=not damaged)
        finite = self.pipeline.is_finite(slots, kind)
        graphs_ms = dict(self.pipeline.timings_ms)
        if not finite and kind != "first":
            self._drop_memory("non-finite")
            kind, why = "first", "non-finite memory"
            slots = self.pipeline.step(image, kind, remember=not damaged)
            finite = self.pipeline.is_finite(slots, kind)
            for graph, ms in self.pipeline.timings_ms.items():
                graphs_ms[graph] = graphs_ms.get(graph, 0.0) + ms
        begin_ns = time.perf_counter_ns()
        stated = self._settle(kind, finite, damaged)
        stream = self._stream
        boxes = geometry.to_frame(Boxes.of_slots(slots, self.manifest.detection.corners))
        boxes = boxes.select(boxes.scores >= self.score_threshold)  # false for NaN too
        label_names = tuple(self.manifest.classes[label] for label in boxes.labels.tolist())
        stages_ms["postprocess"] = (time.perf_counter_ns() - begin_ns) / 1e6
        result = Detections(
            frame=stream.frame,
            time_s=time_s,
            kind=kind,
            feature_age=stream.feature_age,
            boxes=boxes,
            label_names=label_names,
            reset_reason=stated,
            damaged=damaged,
            why=why,
            timings=Timings(stages_ms, graphs_ms),
        )
        stream.frame += 1
        stream.shape = frame.shape
        return result

    def _drop_what_does_not_fit(self, shape: tuple[int, ...], time_s: float | None, damaged: bool) -> None:
        stream = self._stream
        gap = self._gaps.is_gap(time_s)
        if stream.tainted and not damaged:
            stream.tainted = False
            self._drop_memory("decode-error")
        if gap:
            self._drop_memory("time-gap")
        if stream.shape is not None and stream.shape != shape:
            self._drop_memory("size-change")

    def _decide(self, time_s: float | None, damaged: bool) -> tuple[Kind, str]:
        if not self.pipeline.has_memory:
            return "first", "no memory"
        if not self.pipeline.carries_memory:
            return "keyframe", "per-frame model"
        stream = self._stream
        decision = self.scheduler.decide(FrameInfo(stream.frame, stream.feature_age + 1, time_s, self._clock()))
        if decision.keyframe and damaged:
            return "propagated", "damaged picture"
        return ("keyframe" if decision.keyframe else "propagated"), decision.why

    def _settle(self, kind: Kind, finite: bool, damaged: bool) -> str | None:
        """Keep the memory or not; returns the reason this frame's result states."""
        stream = self._stream
        stream.tainted = stream.tainted or damaged
        stream.feature_age = stream.feature_age + 1 if kind == "propagated" else 0
        if not finite:  # even from an empty memory: the frame itself gives no finite feature
            self.pipeline.reset()
            stream.reset_reason = None
            return "non-finite"
        if kind != "first":
            return None
        if damaged:
            stream.reset_reason = stream.reset_reason or "decode-error"
            return None
        reason, stream.reset_reason = stream.reset_reason, None
        return reason


class _GapWatch:
    """Notices time that runs backwards, or a step longer than 2 s and 5 usual frame intervals."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._steps_s: deque[float] = deque(maxlen=5)

    def is_gap(self, time_s: float | None) -> bool:
        last_s, self._last_s = self._last_s, time_s
        if last_s is None or time_s is None:
            return False
        step_s = time_s - last_s
        usual_s = statistics.median(self._steps_s) if self._steps_s else 0.0
        if step_s >= 0:
            self._steps_s.append(step_s)
        return step_s < 0 or step_s > max(_GAP_S, _GAP_INTERVALS * usual_s)
