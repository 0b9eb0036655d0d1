"""Outputs of a run that does not end, in segments: files of some minutes, each published when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lsts_edge.errors import LstsEdgeError, OptionError
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.video_clock import VideoClock

__all__ = ["SegmentedSink"]

_SHORTEST_S = 1.0
_OUTAGE_S = 10.0  # a video does not keep a longer one, so that a name alone would say when the rest was
_ROUNDING_S = 1e-6  # of time stamps that are sums


def _now() -> datetime:
    return datetime.now(timezone.utc)


class SegmentedSink(Sink):
    """Several outputs that begin and end together, again and again.

    ``out.mp4`` becomes ``out-20261125T134500Z.mp4``: the UTC time of the segment's first frame. A segment ends by the
    stream's own time, which a step of the clock does not touch, or by an outage of more than 10 s; what it holds is
    published together or not at all. An error elsewhere ends it too, and loses nothing of it.

    Attributes:
        outputs: what was asked for: path without the time in its name -> what makes a sink.
        published: paths of the newest complete segments, in order; a run may last a year.
    """

    def __init__(
        self,
        outputs: Mapping[Path, Callable[[Path], Sink]],
        length_s: float,
        *,
        rate_fps: float | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Check the paths; nothing is created before a frame comes.

        Args:
            outputs: path without the time in its name -> what makes a sink for one with it, recoverable after a kill.
            length_s: of a segment, at least a second.
            rate_fps: of the source, where it knows.
            now: the time for names.
        Raises:
            OptionError: if the length is shorter.
            FileUnwritable: if a path cannot be written.
        """
        super().__init__()
        if not _SHORTEST_S <= length_s < float("inf"):
            raise OptionError("segment", got=f"{length_s} s", expected="at least a second", fix="Try 10m.")
        self.published: deque[Path] = deque(maxlen=1000)
        self.outputs, self._length_s, self._now = dict(outputs), length_s, now
        self._clock = VideoClock(1.0 / (rate_fps or 25.0))
        self._ends_s = length_s
        self._stamp: datetime | None = None
        self._named: list[Path] = []
        self._current: list[Sink] = []
        self._before: tuple[int, float | None] | None = None  # reconnects and stamp of the frame before
        self._finished = self._is_published = False
        self._sound = True  # no output of the current segment has failed: all hold the same frames
        for path, make in self.outputs.items():
            make(path)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the frame to the segment that it falls into.

        Raises:
            FileUnwritable: if a segment cannot be written or published.
        """
        now_s = self._clock.advance(frame.time_s)
        if not self._current:
            self._begin()
        elif now_s >= self._ends_s - _ROUNDING_S or self._is_outage(frame):
            self._complete()
            self._begin()
            self._ends_s = now_s + self._length_s
        self._before = (frame.reconnects, frame.time_s)
        self.stage_ms = {}
        self._sound = False
        for sink in self._current:
            sink.write(frame, detections)
            self.stage_ms |= sink.stage_ms
        self._sound = True

    def finish(self) -> None:
        """Complete the last segment: what can fail fails here.

        Raises:
            FileUnwritable: if that fails.
        """
        self._sound = False
        for sink in self._current:
            sink.finish()
        self._sound = self._finished = True

    def publish(self) -> None:
        """Give the last segment its names.

        Raises:
            FileUnwritable: if that fails.
        """
        self._sound = False
        for sink in self._current:
            sink.publish()
        self._sound = self._is_published = True
        self.published.extend(path for path in self._named if path.exists())

    def settle(self) -> None:
        """Let older files go."""
        for sink in self._current:
            sink.settle()

    def abandon(self) -> None:
        """Publish the last segment all the same, unless its own outputs have failed; those before stay."""
        if self._is_kept():
            self.settle()
        else:
            for sink in self._current:
                sink.abandon()
        self._current = []

    def _is_kept(self) -> bool:
        if not self._sound or not self._current:
            return False
        try:
            if not self._finished:
                self.finish()
            if not self._is_published:
                self.publish()
        except (LstsEdgeError, OSError):  # the error that ends the run is told
            return False
        return True

    def _is_outage(self, frame: Frame) -> bool:
        """Whether the source was lost and found again, and it took long."""
        if self._before is None or frame.reconnects == self._before[0]:
            return False
        before_s = self._before[1]
        return frame.time_s is None or before_s is None or frame.time_s - before_s > _OUTAGE_S

    def _complete(self) -> None:
        self.finish()
        self.publish()
        self.settle()

    def _begin(self) -> None:
        """Sinks for the next segment, under names that nobody has."""
        stamp = self._now().replace(microsecond=0)
        if self._stamp is not None:
            stamp = max(stamp, self._stamp + timedelta(seconds=1))  # a file may be read faster than it was filmed
        while any(_is_taken(_with_time(path, stamp)) for path in self.outputs):
            stamp += timedelta(seconds=1)
        self._stamp = stamp
        self._named = [_with_time(path, stamp) for path in self.outputs]
        self._current = []  # what is complete is not abandoned with what follows
        self._sound = self._finished = self._is_published = False
        for path, make in zip(self._named, self.outputs.values(), strict=True):
            sink = make(path)
            sink.stopping = lambda: self.stopping()
            self._current.append(sink)


def _is_taken(path: Path) -> bool:
    """Whether a file has that name, or one that another run is writing is to have it."""
    hidden, names = f".{path.name}.segment-", list[str]()
    with contextlib.suppress(OSError):  # the sink says what is wrong with the folder
        names = os.listdir(path.parent)
    return os.path.lexists(path) or any(name.startswith(hidden) for name in names)


def _with_time(path: Path, stamp: datetime) -> Path:
    return path.with_name(f"{path.stem}-{stamp:%Y%m%dT%H%M%SZ}{path.suffix}")
