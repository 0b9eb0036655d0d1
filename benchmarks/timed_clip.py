"""Drive a detector over a clip and write down where each frame's time went."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsts_edge.benchmarks.frame_times import FrameTime
from lsts_edge.clips import moving_clip
from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime import Detections, Detector
from lsts_edge.runtime.sources.open import open_source

__all__ = ["Clip", "ClipFacts", "run_clip"]

Output = Callable[[np.ndarray, Detections], Mapping[str, float]]
"""Takes a frame and what was found in it; returns its own milliseconds by stage (``draw``, ``encode``)."""


@dataclass(frozen=True)
class ClipFacts:
    """What a result says of its frames.

    Attributes:
        name: of the video file, or ``procedural``.
        procedural_frames: length of a procedural clip; None for a video.
        decodes: whether getting a frame is work, as it is with a video.
        frame_px: height and width; None where no frame was read or it was not told.
    """

    name: str
    procedural_frames: int | None
    decodes: bool
    frame_px: tuple[int, int] | None

    @property
    def label(self) -> str:
        """For tables."""
        return self.name if self.procedural_frames is None else f"{self.name}, {self.procedural_frames} frames, seed 0"


class Clip:
    """Frames without end: a video read again from its start whenever it is over, or a procedural clip.

    A procedural clip is drawn before anything is timed: its decode stage is close to nothing.

    Args:
        source: a video file; None makes the procedural clip of 640x360 pixels.
        procedural_frames: length of the procedural clip.
    """

    def __init__(self, source: Path | None = None, procedural_frames: int = 60) -> None:
        self._source = source
        self._frames = [] if source is not None else list(moving_clip(procedural_frames))
        self._frame_px: tuple[int, ...] | None = self._frames[0].shape[:2] if self._frames else None

    @property
    def facts(self) -> ClipFacts:
        """What it is; the size of a video's frames is that of the latest."""
        size = None if self._frame_px is None else (self._frame_px[0], self._frame_px[1])
        if self._source is None:
            return ClipFacts("procedural", len(self._frames), False, size)
        return ClipFacts(self._source.name, None, True, size)

    def passes(self) -> Iterator[Iterator[np.ndarray]]:
        """One iterator of ``(H, W, 3)`` uint8 BGR frames per pass over the clip, for ever.

        Raises:
            StreamError: if the video cannot be read.
        """
        while True:
            yield self._one_pass()

    def _one_pass(self) -> Iterator[np.ndarray]:
        if self._source is None:
            yield from self._frames
            return
        with open_source(self._source) as opened:
            for frame in opened:
                self._frame_px = frame.image.shape[:2]
                yield frame.image


def run_clip(
    detector: Detector,
    clip: Clip,
    *,
    frames: int,
    warmup_frames: int,
    output: Output | None = None,
    pace_fps: float | None = None,
    progress: Progress = silent,
) -> list[FrameTime]:
    """Detect on ``warmup_frames + frames`` frames and time the last ``frames``.

    Each pass over the clip is a new stream, so its first frame is of kind ``first``. Without a pace, a frame is
    asked for as soon as the one before is drawn. With one, frame ``i`` arrives at ``i / pace_fps`` and waits for
    the device (``wait_ms``); none is dropped.

    Args:
        detector: reset by this call.
        clip: where frames come from.
        frames: frames to time, at least 1.
        warmup_frames: frames before, not timed.
        output: draws or writes a frame; None leaves that out.
        pace_fps: camera rate; None feeds as fast as the device goes.
        progress: told after every frame.

    Raises:
        OptionError: if a number is out of range.
        StreamError: if the clip cannot be read.
    """
    if frames < 1 or warmup_frames < 0:
        raise OptionError("frames to time", got=frames, expected="at least 1", fix="Give --frames 300.")
    if pace_fps is not None and not 0 < pace_fps <= 10_000:
        raise OptionError("pace", got=pace_fps, expected="above 0, at most 10000 a second", fix="Give --pace 30.")
    times: list[FrameTime] = []
    in_all = warmup_frames + frames
    done = 0
    origin_ns = time.perf_counter_ns()
    for one_pass in clip.passes():
        detector.start_stream()
        before = done
        for image in _timed(itertools.islice(one_pass, in_all - done), done, origin_ns, pace_fps):
            found = detector.push(image.frame)
            output_ms = output(image.frame, found) if output is not None else {}
            end_ns = time.perf_counter_ns()
            if done >= warmup_frames:
                times.append(_frame_time(done - warmup_frames, image, found, output_ms, end_ns))
            done += 1
            progress("frames", done, in_all)
        if done == before:
            raise OptionError("clip", got="no frame", expected="at least one", fix="Give another source.")
        if done >= in_all:
            return times
    raise AssertionError("a clip has passes without end")


class _Arrival:
    """A frame, when it was asked for, how long it had waited by then, and how long it took to get."""

    __slots__ = ("asked_ns", "decode_ms", "frame", "wait_ms")

    def __init__(self, frame: np.ndarray, asked_ns: int, wait_ms: float, decode_ms: float) -> None:
        self.frame = frame
        self.asked_ns = asked_ns
        self.wait_ms = wait_ms
        self.decode_ms = decode_ms


def _timed(frames: Iterator[np.ndarray], index: int, origin_ns: int, pace_fps: float | None) -> Iterator[_Arrival]:
    for number in itertools.count(index):
        wait_ns = 0
        if pace_fps is not None:
            arrival_ns = origin_ns + int(number * 1e9 / pace_fps)
            early_ns = arrival_ns - time.perf_counter_ns()
            if early_ns > 0:
                time.sleep(early_ns / 1e9)
            wait_ns = time.perf_counter_ns() - arrival_ns
        asked_ns = time.perf_counter_ns()
        frame = next(frames, None)
        if frame is None:
            return
        yield _Arrival(frame, asked_ns, wait_ns / 1e6, (time.perf_counter_ns() - asked_ns) / 1e6)


def _frame_time(
    index: int, image: _Arrival, found: Detections, output_ms: Mapping[str, float], end_ns: int
) -> FrameTime:
    timings = found.timings
    stages = {"decode": image.decode_ms, **timings.stages_ms, "model": timings.graphs_total_ms, **output_ms}
    return FrameTime(
        frame=index,
        kind=found.kind,
        end_to_end_ms=(end_ns - image.asked_ns) / 1e6,
        model_ms=timings.graphs_total_ms,
        stages_ms=stages,
        graphs_ms=timings.graphs_ms,
        wait_ms=image.wait_ms,
    )
