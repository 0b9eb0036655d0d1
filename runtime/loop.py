"""Runs a detector over a source into sinks: everything closed at the end, whatever ends it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lsts_edge.errors import OptionError, StreamLost
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.tracking import TrackIds
from lsts_edge.runtime.video_clock import VideoClock

__all__ = ["RunSummary", "run_stream"]

_LATENCIES = 10_000  # of each kind: their percentiles are those of the last minutes


@dataclass
class RunSummary:
    """What a run came to.

    Attributes:
        frames: frames detected on.
        detections: boxes at or above the score threshold, over all frames.
        kinds: frames by kind.
        labels: boxes by class name.
        resets: memory resets by reason.
        damaged: frames that the decoder flagged.
        lost: packets or pictures that gave nothing.
        skipped: files of a folder that are no pictures.
        dropped: frames left out because a live source was faster.
        reconnects: times that a live source was lost and found again.
        latency_ms: frame to boxes, one number a frame, by kind; of the newest frames, for a run may last a year.
        stage_ms: total time by stage: ``decode`` (beside the others where frames are read ahead), ``preprocess``,
            ``postprocess``, and the sinks' own.
        graph_ms: total time by graph.
        wall_s: from the first read to the last write.
        video_s: length of the video by its time stamps, as ``VideoClock`` reads them.
        stopped: the source was asked to stop before its end.
    """

    frames: int = 0
    detections: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    resets: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    lost: int = 0
    skipped: int = 0
    dropped: int = 0
    reconnects: int = 0
    latency_ms: dict[str, deque[float]] = field(default_factory=dict)
    stage_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    graph_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall_s: float = 0.0
    video_s: float = 0.0
    stopped: bool = False

    @property
    def frames_per_s(self) -> float:
        """Frames over wall time, everything included."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds of video per second of work: above 1 keeps up with the camera."""
        return self.video_s / self.wall_s if self.wall_s > 0 else 0.0

    def add(self, frame: Frame, detections: Detections, sink_ms: Iterable[tuple[str, float]]) -> None:
        """Count one frame."""
        self.frames += 1
        self.detections += len(detections)
        self.kinds[detections.kind] += 1
        self.labels.update(detections.label_names)
        if detections.reset_reason is not None:
            self.resets[detections.reset_reason] += 1
        self.damaged += frame.damaged
        self.latency_ms.setdefault(detections.kind, deque(maxlen=_LATENCIES)).append(detections.total_ms)
        timings = detections.timings
        for stage, value in (("decode", frame.decode_ms), *timings.stages_ms.items(), *sink_ms):
            self.stage_ms[stage] += value
        for graph, value in timings.graphs_ms.items():
            self.graph_ms[graph] += value


def run_stream(
    detector: Detector,
    source: Source,
    sinks: Iterable[Sink] = (),
    *,
    max_frames: int | None = None,
    on_result: Callable[[Frame, Detections], None] | None = None,
    tracks: TrackIds | None = None,
    summary: RunSummary | None = None,
) -> RunSummary:
    """Detect on a source to its end, or until ``source.stop()``, and put the outputs at their paths.

    An exception - of the source, the engine, a sink or the callback - is raised again after the source is closed
    and every output abandoned, so that nothing half-written stays. A live source that is lost for good is another
    matter: what it gave is kept, and then the error is raised.

    Args:
        detector: runs the source as a new stream.
        source: read once and closed here.
        sinks: finished and published here, together, or abandoned.
        max_frames: stop after so many, at least 1; None goes on to the end.
        on_result: called with each frame and its detections, after the sinks.
        tracks: numbers the objects before sinks and callback see them.
        summary: a new one, filled as the run goes on: the caller has it too when the run ends by an error.
    Returns:
        Counts and times.
    Raises:
        OptionError: if ``max_frames`` is below 1.
        StreamLost: if a live source is gone for good; the outputs are there.
        StreamError: if the source fails otherwise.
        FileUnwritable: if an output cannot be written.
    """
    outputs = list(sinks)
    summary = RunSummary() if summary is None else summary
    for sink in outputs:
        sink.stopping = lambda: source.stopping
    begin = time.perf_counter()
    lost: StreamLost | None = None
    try:
        check_kind("frames to run", max_frames, int | None)
        if max_frames is not None and max_frames < 1:
            raise OptionError("frames to run", got=max_frames, expected="at least 1", fix="Leave it out to run all.")
        with source:
            try:
                _detect(detector, source, outputs, summary, max_frames, on_result, tracks)
            except StreamLost as error:
                lost = error
        for sink in outputs:
            sink.finish()
        for sink in outputs:
            sink.publish()
    except BaseException:  # together or not at all: what one of them has published is taken back
        for sink in outputs:
            sink.abandon()
        raise
    finally:
        summary.wall_s = time.perf_counter() - begin
        summary.skipped = source.skipped
        summary.lost, summary.dropped, summary.reconnects = source.lost, source.dropped, source.reconnects
    for sink in outputs:
        sink.settle()
    if lost is not None:
        raise lost
    return summary


def _detect(
    detector: Detector,
    source: Source,
    outputs: list[Sink],
    summary: RunSummary,
    max_frames: int | None,
    on_result: Callable[[Frame, Detections], None] | None,
    tracks: TrackIds | None,
) -> None:
    """Every frame, to the end of the source."""
    clock = VideoClock(1.0 / (source.rate_fps or 25.0))
    for frame, found in detector.run(source):
        detections = found if tracks is None else tracks.update(found)
        for sink in outputs:
            sink.write(frame, detections)
        summary.add(frame, detections, ((s, ms) for sink in outputs for s, ms in sink.stage_ms.items()))
        if on_result is not None:
            on_result(frame, detections)
        clock.advance(frame.time_s)
        summary.video_s = clock.length_s
        if summary.frames == max_frames:
            return
    summary.stopped = source.stopping
