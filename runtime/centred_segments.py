"""Runs a file segment by segment, the keyframe in the middle of each, and gives the results in the file's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lsts_edge.bundle.programs import FrameKind
from lsts_edge.runtime.executor import FrameResult
from lsts_edge.runtime.preprocess import check_frame
from lsts_edge.runtime.runners.interface import Found, FrameRunner
from lsts_edge.runtime.scene_cuts import SceneWatch
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.stream import Stream

__all__ = ["CentredSegments"]

_AFRESH = "non-finite memory"


class CentredSegments:
    """One file on one runner. Frames around a keyframe build on it alone, never on each other.

    A segment ends after ``interval`` frames, where another shot begins, and wherever an online stream would start
    afresh; its keyframe is the good picture nearest to its middle. Damaged pictures are propagated, never remembered.

    Args:
        runner: of this file alone.
        interval: frames of a segment.
        scene_cuts: end a segment where another shot begins.
    """

    def __init__(self, runner: FrameRunner, interval: int, *, scene_cuts: bool = True) -> None:
        self._runner = runner
        self._interval = interval
        self._stream = Stream()  # watches for breaks as the frames are read
        self._scenes = SceneWatch() if scene_cuts else None
        self._has_memory = False
        self._count = 0

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, FrameResult]]:
        """Every frame with its result; a segment's come together, when it has been read.

        Raises:
            ShapeError: if a picture is none.
            ProviderError: if the engine fails.
        """
        self._runner.reset()
        segment: list[Frame] = []
        reason: str | None = None  # why the segment under way begins without a memory
        for frame in frames:
            check_frame(frame.image)
            broken = self._break_before(frame)
            if broken is not None and self._stream.frame > 1:
                yield from self._results(segment, reason)
                segment, reason = [], broken
                self._forget()
            segment.append(frame)
            if len(segment) == self._interval:
                yield from self._results(segment, reason)
                segment, reason = [], None
        yield from self._results(segment, reason)

    def _break_before(self, frame: Frame) -> str | None:
        reason = self._stream.arrive(frame)
        if self._scenes is not None:
            if reason is not None:
                self._scenes.reset()
            if not frame.damaged and self._scenes.arrive(frame.image) and reason is None:
                reason = "scene-cut"
        self._stream.settle(frame, "propagated", finite=True)
        return reason

    def _results(self, segment: list[Frame], reason: str | None) -> Iterator[tuple[Frame, FrameResult]]:
        if not segment:
            return
        middle = len(segment) // 2
        good = [index for index, frame in enumerate(segment) if not frame.damaged]
        centre = min(good, key=lambda index: abs(index - middle)) if good else None
        found: dict[int, tuple[FrameKind, str, Found]] = {}
        if centre is not None:
            found[centre] = self._keyframe(segment[centre])
            if found[centre][1] == _AFRESH or not found[centre][2].finite:
                reason = "non-finite"
        for index, frame in enumerate(segment):
            if index != centre:
                kind: FrameKind = "propagated" if self._has_memory else "first"
                found[index] = (kind, "around the keyframe", self._runner.step(frame.image, kind, remember=False))
        for index, frame in enumerate(segment):
            kind, why, result = found[index]
            age = abs(index - centre) if centre is not None and kind == "propagated" else 0
            yield frame, FrameResult(self._count, kind, why, age, reason if index == 0 else None, result)
            self._count += 1

    def _keyframe(self, frame: Frame) -> tuple[FrameKind, str, Found]:
        """The segment's keyframe; afterwards there is a memory, unless it gave no finite one."""
        kind: FrameKind = "keyframe" if self._has_memory else "first"
        why = "middle of its segment"
        result = self._runner.step(frame.image, kind)
        if not result.finite and kind == "keyframe":
            self._forget()
            kind, why = "first", _AFRESH
            result = self._runner.step(frame.image, kind)
        self._has_memory = result.finite
        if not result.finite:
            self._forget()
        return kind, why, result

    def _forget(self) -> None:
        self._runner.reset()
        self._has_memory = False
