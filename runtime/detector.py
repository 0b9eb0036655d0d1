"""Frames in, boxes out: one detector per stream, with a memory that is dropped when it no longer fits."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from numbers import Real
from types import TracebackType

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.propagation import PropagationWay
from lsts_edge.default_bundle import default_bundle
from lsts_edge.errors import OptionError, StateConcurrent
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.centred_segments import CentredSegments
from lsts_edge.runtime.class_filter import wanted_labels
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.executor import Executor, FrameResult
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.runners.open import choose_way, open_runner
from lsts_edge.runtime.schedulers.centred import Centred
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Scheduler
from lsts_edge.runtime.schedulers.make import make_scheduler
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.stream import Stream

__all__ = ["Detector"]


class Detector:
    """Detects objects in one video stream, fully on keyframes and by propagation in between.

    ``push`` takes frames one at a time; ``run`` reads a video. Several streams need several detectors:
    ``share`` makes another one on the same loaded graphs. Use it as a context manager, or call ``close``.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        engine: EngineOptions | None = None,
        *,
        keyframe_interval: float | None = None,
        score_threshold: float = 0.3,
        classes: Sequence[str | int] | None = None,
        scheduler: Scheduler | None = None,
        propagator: str | PropagationWay | None = None,
        scene_cuts: bool = True,
        centred: bool = False,
        expect_digest: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Verify the bundle, load its graphs and wait for the first frame.

        Args:
            bundle: an open bundle or the path of one; None takes ``default_bundle()``, COCO's 80 classes.
            engine: what runs it and how, ``EngineOptions("openvino", threads=2)`` say; None takes ONNX Runtime on the
                CPU.
            keyframe_interval: frames from one keyframe to the next, 2.5 say; None takes the bundle's schedule.
            score_threshold: boxes scoring less are left out, 0 to 1.
            classes: only these are kept, by name or label; None keeps all.
            scheduler: decides which frames are keyframes, in place of the fixed interval; each stream gets its own.
            propagator: what fills the frames between keyframes: a way that the bundle names, ``hold``,
                ``flow-boxes`` or ``every-frame``, which any bundle can be run with, or one made by the caller; None
                takes the bundle's default.
            scene_cuts: drop the memory where another shot begins: that frame is run as the first of a video. Costs
                some 0.04 ms a frame, whatever its size.
            centred: put each keyframe in the middle of its interval; ``run`` then reads that far ahead, and takes
                files alone. For networks that carry features.
            expect_digest: refuse any other bundle; for a path.
            clock: monotonic seconds, handed to the scheduler.
        Raises:
            OptionError: if an option is out of range.
            BundleError: if the bundle is refused.
            ProviderError: if the engine or provider is missing or fails.
            OpLibraryError: if the custom form's library is missing or does not fit.
        """
        for name, value, kind in (
            ("score threshold", score_threshold, float),
            ("keyframe interval", keyframe_interval, float | None),
            ("engine", engine, EngineOptions | None),
            ("scheduler", scheduler, Scheduler | None),
            ("propagator", propagator, str | PropagationWay | None),
            ("bundle", bundle, Bundle | str | os.PathLike | None),
            ("expected digest", expect_digest, str | None),
            ("clock", clock, Callable),
        ):
            check_kind(name, value, kind)
        if not 0.0 <= score_threshold <= 1.0:
            raise OptionError("score threshold", got=score_threshold, expected="0..1", fix="Use 0.3 to show boxes.")
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(default_bundle() if bundle is None else bundle, expect_digest)
        elif expect_digest is not None:
            raise OptionError(
                "expected digest and bundle",
                got="a bundle that is open",
                expected="its path",
                fix="Give the digest to Bundle.open, or the path here.",
            )
        way = choose_way(bundle.manifest, propagator)
        interval = way.keyframe_interval if keyframe_interval is None else keyframe_interval
        if centred and (scheduler is not None or way.kind != "features"):
            raise OptionError(
                "schedule centred",
                got=f"way {way.kind}" if scheduler is None else "a scheduler too",
                expected="a network that carries features, at a fixed interval",
                fix="Leave it out.",
            )
        if scheduler is None and keyframe_interval is None and not centred:
            scheduler = make_scheduler(way)
        elif scheduler is None:
            scheduler = Centred(interval) if centred else FixedInterval(interval)
        elif keyframe_interval is not None:
            raise OptionError(
                "keyframe interval and scheduler", got="both", expected="one of them", fix="Give the scheduler alone."
            )
        wanted = None if classes is None else wanted_labels(classes, bundle.manifest.classes)
        runner = open_runner(bundle, engine, way)
        self._set_up(bundle, Executor(runner, scheduler, clock, scene_cuts=scene_cuts), score_threshold, wanted)

    def _set_up(self, bundle: Bundle, executor: Executor, score_threshold: float, wanted: np.ndarray | None) -> None:
        self.bundle = bundle
        self.score_threshold = score_threshold
        self._wanted = wanted
        self._executor = executor
        self._classes = tuple(bundle.manifest.classes)
        self._busy = threading.Lock()
        self._reading: object | None = None  # which run the stream belongs to

    def share(self, scheduler: Scheduler | None = None) -> Detector:
        """A detector for another stream on the same loaded graphs.

        Args:
            scheduler: for the other stream; None takes this one's policy, with nothing learnt.
        """
        other = object.__new__(Detector)
        other._set_up(self.bundle, self._executor.share(scheduler), self.score_threshold, self._wanted)
        return other

    @property
    def pipeline(self) -> Pipeline:
        """The network that runs on keyframes, with the memory."""
        return self._executor.runner.pipeline

    @property
    def scheduler(self) -> Scheduler:
        """The policy of this stream."""
        return self._executor.scheduler

    @property
    def carries_memory(self) -> bool:
        """Whether frames between keyframes are run as such."""
        return self._executor.runner.carries_memory

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
        self._executor.runner.reset()
        self._executor.stream = Stream()

    def push(self, frame_hwc_bgr_u8: np.ndarray, time_s: float | None = None, *, damaged: bool = False) -> Detections:
        """Detect on the next frame of the stream.

        A damaged frame gets boxes but never enters the memory: it is propagated from the last good keyframe, and
        the next good frame starts afresh.

        Args:
            frame_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR.
            time_s: the frame's time stamp in seconds, where known: any finite number, of numpy's types too.
            damaged: the decoder reports that the picture may be wrong.
        Raises:
            ShapeError: if the frame is no such picture; the stream goes on as if it had not been pushed.
            OptionError: if the time stamp is no finite number; the stream goes on likewise.
            StateConcurrent: if another push is under way on this detector.
            ProviderError: if the engine fails.
        """
        if isinstance(self.scheduler, Centred):
            raise OptionError(
                "schedule centred", got="frames one at a time", expected="a file", fix="Use run, or leave it out."
            )
        time_s = None if time_s is None else _seconds(time_s)
        self._reading = None
        return self._push(Frame(frame_hwc_bgr_u8, self._executor.stream.frame, time_s, bool(damaged)))

    def reset(self, reason: str = "requested") -> None:
        """Drop the memory and start counting frames' ages anew; the next result states ``reason``.

        Does nothing where no frame has been pushed yet.
        """
        with self._alone("reset during a push", "Reset between frames, from the thread that pushes them."):
            self._executor.reset(reason)

    def run(self, source: Source | str | os.PathLike[str]) -> Iterator[tuple[Frame, Detections]]:
        """Detect on every frame of a video, as a new stream.

        Args:
            source: an open source, or what ``open_source`` takes: a file, an image folder, a camera, a URL. A time
                stamp that is not finite counts as missing.
        Yields:
            The frame as read and what was found in it.
        Raises:
            StreamError: if the source cannot be read, ends at once or breaks off.
            OptionError: if the schedule is centred and the source live.
            StateConcurrent: if another ``run`` or a ``push`` has used this detector since the frame before.
        """
        check_kind("source", source, Source | str | os.PathLike)
        opened = source if isinstance(source, Source) else open_source(source)
        with opened:
            self.start_stream()
            mine = self._reading = object()
            if isinstance(self.scheduler, Centred):
                yield from self._run_centred(opened, self.scheduler.interval)
                return
            for frame in opened:
                if self._reading is not mine:
                    raise StateConcurrent(
                        f"reading on from {opened.name}",
                        got="another run, push or new stream on this detector in between",
                        expected="one stream at a time",
                        fix="Give each stream its own detector: detector.share().",
                    )
                if type(frame.time_s) is not float or not math.isfinite(frame.time_s):
                    frame = dataclasses.replace(frame, time_s=_seconds_if_finite(frame.time_s))
                yield frame, self._push(frame)

    def _run_centred(self, source: Source, interval: int) -> Iterator[tuple[Frame, Detections]]:
        if source.live:
            raise OptionError(
                "schedule centred",
                got="a live source",
                expected="a file: half a segment is yet to come",
                fix="Leave it out.",
            )
        segments = CentredSegments(self._executor.runner, interval, scene_cuts=self._executor.scene_cuts)
        for frame, result in segments.run(source):
            yield frame, self._told(frame, result)

    def start_stream(self) -> None:
        """Begin a new video: frame numbers start at 0 and nothing is carried over."""
        with self._alone("a new stream during a push", "Begin it between frames, from the thread that pushes them."):
            self._reading = None
            self._executor.next_video()

    def _push(self, frame: Frame) -> Detections:
        with self._alone("two pushes at once on one detector", "Give each stream its own detector: detector.share()."):
            result = self._executor.run(frame)
        return self._told(frame, result)

    def _told(self, frame: Frame, result: FrameResult) -> Detections:
        begin_ns = time.perf_counter_ns()
        found = result.found
        keep = found.boxes.scores >= self.score_threshold  # false for NaN too
        boxes, moved = found.boxes, found.moved
        if self._wanted is not None:
            keep &= self._wanted[boxes.labels]
        if not keep.all():
            boxes, moved = boxes.select(keep), moved[keep]
        names = tuple([self._classes[label] for label in boxes.labels.tolist()])
        timings = found.timings.spent("postprocess", (time.perf_counter_ns() - begin_ns) / 1e6)
        return Detections(
            frame=result.frame,
            time_s=frame.time_s,
            kind=result.kind,
            feature_age=result.feature_age,
            boxes=boxes,
            label_names=names,
            reset_reason=result.reset_reason,
            damaged=frame.damaged,
            why=result.why,
            timings=timings,
            reconnects=frame.reconnects,
            moved=moved,
            file=frame.file,
        )

    @contextmanager
    def _alone(self, problem: str, fix: str) -> Iterator[None]:
        """One stream, one thread at a time."""
        if not self._busy.acquire(blocking=False):
            got, expected = "another thread at work on it", "one stream, one thread at a time"
            raise StateConcurrent(problem, got=got, expected=expected, fix=fix)
        try:
            yield
        finally:
            self._busy.release()


def _seconds(time_s: object) -> float:
    """A time stamp of any type of number as Python's float; what is none, or not finite, is refused."""
    try:
        seconds = float(time_s) if isinstance(time_s, (Real, Decimal)) and not isinstance(time_s, bool) else math.nan
    except (ValueError, OverflowError):  # a signalling NaN, a number beyond all floats
        seconds = math.nan
    if not math.isfinite(seconds):
        raise OptionError(
            "time stamp",
            got=f"{ascii(time_s)[:60]} ({type(time_s).__name__})",
            expected="finite seconds, or None",
            fix="Convert it to a float, or leave it out.",
        )
    return seconds


def _seconds_if_finite(time_s: object) -> float | None:
    missing = time_s is None or (isinstance(time_s, Real) and not math.isfinite(time_s))
    return None if missing else _seconds(time_s)
