"""Everything that takes part in a comparison behind one small interface: a frame in, boxes and their times out."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

import numpy as np

from lsts_edge.benchmarks.peers import Peer
from lsts_edge.boxes import Boxes
from lsts_edge.runtime.executor import Executor
from lsts_edge.runtime.runners.interface import FrameRunner
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.timings import Timings

__all__ = ["BundleContestant", "Contestant", "Outcome", "PeerContestant"]


class Outcome(NamedTuple):
    """Boxes in frame pixels, their labels index the contestant's ``classes``; where the time went; how it was run."""

    boxes: Boxes
    timings: Timings
    keyframe: bool = True

    @property
    def model_ms(self) -> float:
        """Everything between the network's image and its raw boxes: the graphs, and what moves boxes in their place."""
        return self.timings.graphs_total_ms + self.timings.stages_ms.get("propagate", 0.0)


class Contestant(Protocol):
    """A detector under comparison."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes."""

    @property
    def propagates(self) -> bool:
        """Whether frames between keyframes are run as such."""

    @property
    def decides(self) -> bool:
        """Whether it decides for itself which frames are keyframes."""

    def start(self) -> None:
        """Begin a new stream."""

    def detect(self, frame_hwc_bgr_u8: np.ndarray, keyframe: bool) -> Outcome:
        """Run the next frame of the stream, as a keyframe or not; one that decides for itself may do otherwise."""


class _AsTold(Scheduler):
    """The comparison says which frames are keyframes."""

    keyframe = True

    def for_stream(self) -> _AsTold:
        return self

    def decide(self, info: FrameInfo) -> Decision:
        return Decision(self.keyframe, "as told")


class BundleContestant:
    """A bundle's networks, run as the runtime runs them: by an executor, with the guard of its memory.

    Args:
        classes: names of the bundle's classes.
        runner: runs the frames.
        score_floor: boxes scoring less are left out.
        scheduler: decides which frames are keyframes; None leaves it to the comparison.
    """

    def __init__(
        self, classes: tuple[str, ...], runner: FrameRunner, score_floor: float, scheduler: Scheduler | None = None
    ) -> None:
        self.classes = classes
        self.propagates = runner.carries_memory
        self.decides = scheduler is not None
        self._told = _AsTold()
        self._executor = Executor(runner, scheduler or self._told, time.monotonic, scene_cuts=False)
        self._floor = score_floor

    def start(self) -> None:
        """Begin a new stream."""
        self._executor.next_video()

    def detect(self, frame_hwc_bgr_u8: np.ndarray, keyframe: bool) -> Outcome:
        """Run the frame; the first of a stream is always a keyframe."""
        self._told.keyframe = keyframe
        result = self._executor.run(Frame(frame_hwc_bgr_u8, self._executor.stream.frame))
        found = result.found
        keyframe = result.kind != "propagated"
        return Outcome(found.boxes.select(found.boxes.scores >= self._floor), found.timings, keyframe)


class PeerContestant:
    """A peer's network on every frame.

    Args:
        peer: whose network; frames go through it one by one.
    """

    propagates = decides = False

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.classes = peer.classes

    def start(self) -> None:
        """A per-frame network has no stream."""

    def detect(self, frame_hwc_bgr_u8: np.ndarray, keyframe: bool) -> Outcome:
        """The same for every frame."""
        begin = time.perf_counter_ns()
        prepared, geometry = self._peer.prepare(frame_hwc_bgr_u8)
        ready = time.perf_counter_ns()
        raw = self._peer.infer(prepared)
        inferred = time.perf_counter_ns()
        boxes = self._peer.finish(raw, geometry)
        end = time.perf_counter_ns()
        stages_ms = {"preprocess": (ready - begin) / 1e6, "postprocess": (end - inferred) / 1e6}
        return Outcome(boxes, Timings(stages_ms, {"network": (inferred - ready) / 1e6}))
