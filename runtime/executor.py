"""Runs the frames of one stream: what the stream, the scheduler and the runner say, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lsts_edge.bundle.programs import FrameKind
from lsts_edge.runtime.preprocess import check_frame
from lsts_edge.runtime.runners.interface import Found, FrameRunner
from lsts_edge.runtime.scene_cuts import SceneWatch
from lsts_edge.runtime.schedulers.interface import FrameInfo, Scheduler
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.stream import Stream

__all__ = ["Executor", "FrameResult"]


@dataclass(frozen=True)
class FrameResult:
    """What a frame gave and how it was run; ``frame`` counts from the start of the stream."""

    frame: int
    kind: FrameKind
    why: str
    feature_age: int
    reset_reason: str | None
    found: Found


class Executor:
    """One stream on one runner. Not for two threads at once.

    Attributes:
        stream: where the stream stands.
        runner: what runs its frames.
        scheduler: the policy of this stream.
    """

    def __init__(
        self, runner: FrameRunner, scheduler: Scheduler, clock: Callable[[], float], *, scene_cuts: bool = True
    ) -> None:
        """Wait for the first frame.

        Args:
            runner: of this stream alone.
            scheduler: whose ``for_stream`` gives this stream's own.
            clock: monotonic seconds.
            scene_cuts: drop the memory where another shot begins.
        """
        self.stream = Stream()
        self.runner = runner
        self.scheduler = scheduler.for_stream()
        self._clock = clock
        self._cost_ms: dict[bool, float] = {}  # of the last keyframe (True), and of the last propagated frame
        self._signals: Mapping[str, float] = {}
        # Where every frame is run alike, nothing is carried across a cut.
        self._scenes = SceneWatch() if scene_cuts and runner.carries_memory else None

    @property
    def scene_cuts(self) -> bool:
        """Whether the memory is dropped where another shot begins."""
        return self._scenes is not None

    def share(self, scheduler: Scheduler | None = None) -> Executor:
        """Another stream on the same loaded graphs."""
        policy = scheduler or self.scheduler
        return Executor(self.runner.share(), policy, self._clock, scene_cuts=self._scenes is not None)

    def reset(self, reason: str) -> None:
        """Drop the memory; the next result states ``reason``. Nothing happens where no frame has been run yet."""
        if self._scenes is not None:
            self._scenes.reset()
        self._drop(reason)

    def _drop(self, reason: str) -> None:
        if self.stream.drop(reason):
            self.scheduler.on_reset(reason)
        self.runner.reset()

    def next_video(self) -> None:
        """Begin a new video: frame numbers start at 0 and nothing is carried over."""
        self.reset("new-video")
        self.stream.next_video()

    def run(self, frame: Frame) -> FrameResult:
        """Run the next frame of the stream.

        Raises:
            ShapeError: if the picture is none; the stream goes on as if there had been no such frame.
            ProviderError: if the engine fails.
        """
        check_frame(frame.image)
        stream, runner = self.stream, self.runner
        if frame.dropped_before:
            self.scheduler.on_drop(frame.dropped_before)
        reason = stream.arrive(frame)
        if reason is not None:
            self.reset(reason)
        begin_ns = time.perf_counter_ns()
        # A damaged picture is neither a shot nor a part of one.
        cut = self._scenes is not None and not frame.damaged and self._scenes.arrive(frame.image)
        scenes_ms = (time.perf_counter_ns() - begin_ns) / 1e6
        if cut and stream.has_memory:
            self._drop("scene-cut")
        kind, why = self._decide(frame)
        found = runner.step(frame.image, kind, remember=not frame.damaged)
        if not found.finite and kind != "first":
            self._drop("non-finite")
            kind, why = "first", "non-finite memory"
            again = runner.step(frame.image, kind, remember=not frame.damaged)
            found = replace(again, timings=found.timings + again.timings)
        if self._scenes is not None:
            found = replace(found, timings=found.timings.spent("scenes", scenes_ms))
        number, had_memory = stream.frame, stream.has_memory
        stated = stream.settle(frame, kind, finite=found.finite)
        if not found.finite:
            runner.reset()
            if had_memory:
                self.scheduler.on_reset("non-finite")
        self._cost_ms[kind != "propagated"] = found.timings.total_ms
        self._signals = found.signals
        return FrameResult(number, kind, why, stream.feature_age, stated, found)

    def _decide(self, frame: Frame) -> tuple[FrameKind, str]:
        stream = self.stream
        if not stream.has_memory:
            return "first", "no memory"
        if not self.runner.carries_memory:
            return "keyframe", "per-frame model"
        now_s = self._clock()
        decision = self.scheduler.decide(
            FrameInfo(
                frame=stream.frame,
                feature_age=stream.feature_age + 1,
                time_s=frame.time_s,
                now_s=now_s,
                arrived_s=now_s if frame.arrived_s is None else frame.arrived_s,
                dropped_before=frame.dropped_before,
                keyframe_ms=self._cost_ms.get(True),
                propagated_ms=self._cost_ms.get(False),
                signals=self._signals,
            )
        )
        if decision.keyframe and frame.damaged:
            return "propagated", "damaged picture"
        return ("keyframe" if decision.keyframe else "propagated"), decision.why
