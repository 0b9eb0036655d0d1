"""How fast a bundle is on this device: frames by kind, stages, subgraphs, cold start, memory, energy, deadlines."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.benchmarks.cold_start import cold_start
from lsts_edge.benchmarks.conditions import Conditions, ConditionsRecorder, reset_peak_rss
from lsts_edge.benchmarks.encoded_clip import encode_clip, parse_size
from lsts_edge.benchmarks.energy import open_energy_meter
from lsts_edge.benchmarks.engine_facts import EngineFacts
from lsts_edge.benchmarks.envelope import Origin, bundle_facts
from lsts_edge.benchmarks.frame_times import FrameTime, paced_misses, stage_split, summarize_frames
from lsts_edge.benchmarks.latency_result import (
    BytesMoved,
    LatencyData,
    LatencyResult,
    LatencySettings,
    PerFrame,
    SubgraphTimes,
    Timeline,
)
from lsts_edge.benchmarks.read_ahead import ReadAheadTimes, time_read_ahead
from lsts_edge.benchmarks.timed_clip import Clip, Output, run_clip
from lsts_edge.bundle import Bundle
from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.runtime import Detections, Detector, EngineOptions, Frame
from lsts_edge.statistics import nearest_rank

__all__ = ["LatencyOptions", "measure_latency"]

_READ_AHEAD = 4  # frames that may wait
_FRAMES_COUNTED = 25


@dataclass(frozen=True)
class LatencyOptions:
    """What is measured and how. ``None`` leaves the choice to the bundle or the engine.

    ``split_frames`` run once more with the subgraphs apart where the deployment joins them; ``pace_fps`` feeds
    at camera rate in place of as fast as possible; ``write_video`` encodes H.264 into a temporary file; ``clip_size``
    (``640x360``) encodes the procedural clip first, so that decoding it is timed as a camera's stream would be.
    ``passes`` over a video, of at most ``frames`` each, compare decoding beside detection with decoding in turn, which
    all other times are of.
    """

    frames: int = 300
    warmup_frames: int = 20
    split_frames: int = 60
    cold_starts: int = 5
    passes: int = 0
    camera_fps: float = 30.0
    pace_fps: float | None = None
    draw: bool = True
    write_video: bool = False
    clip_size: str | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    keyframe_interval: float | None = None
    score_threshold: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value, least in (
            ("frames", self.frames, 1),
            ("warmup_frames", self.warmup_frames, 0),
            ("split_frames", self.split_frames, 0),
            ("cold_starts", self.cold_starts, 0),
            ("passes", self.passes, 0),
        ):
            if not least <= value <= 10_000_000:
                fix = f"Change --{name.replace('_', '-')}."
                raise OptionError(f"latency: {name}", got=value, expected=f"{least}..10000000", fix=fix)
        for name, rate in (("camera_fps", self.camera_fps), ("pace_fps", self.pace_fps)):
            if rate is not None and not 0 < rate <= 10_000:
                raise OptionError(f"latency: {name}", got=rate, expected="0..10000 a second", fix="Give 30.")

    def stream_options(self) -> dict[str, Any]:
        """Keyword arguments of ``Detector`` beside the engine."""
        return {"score_threshold": self.score_threshold, "keyframe_interval": self.keyframe_interval}


def measure_latency(
    bundle_path: Path, source: Path | None, options: LatencyOptions, progress: Progress = silent
) -> LatencyResult:
    """Run the whole benchmark and return its result.

    Args:
        bundle_path: the bundle.
        source: a video file; None runs the procedural clip.
        options: what and how.
        progress: told about every frame and process.

    Raises:
        BundleError: if the bundle is refused.
        ProviderError: if the engine is missing or fails.
        StreamError: if the source cannot be read.
        BenchmarkResult: if a process of the cold start fails.
    """
    if options.clip_size is None:
        return _measure(bundle_path, source, options, progress)
    size = parse_size(options.clip_size)
    if source is not None:
        raise OptionError(
            "--clip-size", got="a source too", expected="one of them", fix="A video has its own size: leave one out."
        )
    with tempfile.TemporaryDirectory() as folder:
        return _measure(bundle_path, encode_clip(Path(folder), *size), options, progress)


def _measure(bundle_path: Path, source: Path | None, options: LatencyOptions, progress: Progress) -> LatencyResult:
    bundle = Bundle.open(bundle_path)
    cold = None
    if options.cold_starts:
        repeats, stream = options.cold_starts, options.stream_options()
        cold = cold_start(bundle_path, options.engine, stream, repeats=repeats, progress=progress)
    clip = Clip(source)
    detector = Detector(bundle, options.engine, **options.stream_options())
    reset_peak_rss()
    on_gpu = options.engine.provider in ("cuda", "tensorrt")
    recorder = ConditionsRecorder(lambda: open_energy_meter(accelerator=on_gpu)).start()
    with _output(options) as output:
        frames = run_clip(
            detector,
            clip,
            frames=options.frames,
            warmup_frames=options.warmup_frames,
            output=output,
            pace_fps=options.pace_fps,
            progress=progress,
        )
    conditions = recorder.stop()
    return LatencyResult(
        origin=Origin.here(),
        bundle=bundle_facts(bundle),
        conditions=conditions,
        settings=LatencySettings(
            frames=options.frames,
            warmup_frames=options.warmup_frames,
            split_frames=options.split_frames,
            cold_starts=options.cold_starts,
            camera_fps=options.camera_fps,
            pace_fps=options.pace_fps,
            draw=options.draw,
            write_video=options.write_video,
            clip_size=options.clip_size,
            score_threshold=options.score_threshold,
            keyframe_interval=options.keyframe_interval or bundle.manifest.keyframe_interval,
            engine=EngineFacts.of(options.engine, detector.pipeline),
            clip=clip.facts,
            passes=options.passes,
        ),
        data=LatencyData(
            times=summarize_frames(frames, options.camera_fps),
            paced=None if options.pace_fps is None else paced_misses(frames, options.pace_fps),
            subgraphs=_subgraphs(bundle, clip, options, detector.pipeline.joined, progress),
            cold_start=cold,
            per_frame=_per_frame(conditions, options.frames + options.warmup_frames),
            bytes=_bytes_moved(detector, clip),
            timeline=_timeline(frames),
            read_ahead=_read_ahead(detector, source, options, progress),
        ),
    )


def _draw(frame: np.ndarray, found: Detections) -> Mapping[str, float]:
    from lsts_edge.runtime.sinks.drawing import annotate

    begin = time.perf_counter_ns()
    annotate(frame, found)
    return {"draw": (time.perf_counter_ns() - begin) / 1e6}


@contextlib.contextmanager
def _output(options: LatencyOptions) -> Iterator[Output | None]:
    """Draws boxes, or draws and writes a video that is thrown away, or does neither."""
    if not options.write_video:
        yield _draw if options.draw else None
        return
    from lsts_edge.runtime.sinks.video import VideoSink

    with tempfile.TemporaryDirectory() as folder:
        sink = VideoSink(Path(folder) / "out.mp4", rate_fps=options.camera_fps)

        def write(frame: np.ndarray, found: Detections) -> Mapping[str, float]:
            sink.write(Frame(frame, found.frame), found)
            return sink.stage_ms

        try:
            yield write
        finally:
            sink.abandon()


def _subgraphs(
    bundle: Bundle, clip: Clip, options: LatencyOptions, joined: bool, progress: Progress
) -> dict[str, SubgraphTimes] | None:
    """Time per subgraph and kind of frame, from a second run with the subgraphs apart; None where it is not needed."""
    if not joined or not options.split_frames:
        return None
    detector = Detector(bundle, dataclasses.replace(options.engine, joined=False), **options.stream_options())
    frames = run_clip(
        detector,
        clip,
        frames=options.split_frames,
        warmup_frames=min(options.warmup_frames, options.split_frames),
        progress=renamed(progress, "frames, subgraphs apart"),
    )
    kinds = dict.fromkeys(frame.kind for frame in frames)
    return {
        kind: SubgraphTimes(
            graphs=stage_split([frame for frame in frames if frame.kind == kind], "graphs_ms"),
            model_p50_ms=round(nearest_rank([frame.model_ms for frame in frames if frame.kind == kind], 50), 4),
        )
        for kind in kinds
    }


def _per_frame(conditions: Conditions, frames: int) -> PerFrame:
    joules = conditions.energy.joules
    return PerFrame(
        cpu_time_ms=round(1e3 * conditions.cpu_time_s / frames, 4),
        energy_mj=None if joules is None else round(1e3 * joules / frames, 3),
        energy_reason=conditions.energy.reason,
        frames_counted=frames,
    )


def _bytes_moved(detector: Detector, clip: Clip) -> BytesMoved:
    """Count on some more frames.

    On a device with memory of its own these are the copies over the bus; on a processor nothing needs to be copied.
    """
    other, tensors = detector.share(), detector.pipeline.backend.tensors
    found: dict[str, dict[str, int]] = {"in": {}, "out": {}}
    frames = itertools.islice(itertools.chain.from_iterable(clip.passes()), _FRAMES_COUNTED)
    for frame in frames:
        before = tensors.traffic
        kind = other.push(frame).kind
        moved = tensors.traffic - before
        for way, number in (("in", moved.in_bytes), ("out", moved.out_bytes)):
            found[way][kind] = max(number, found[way].get(kind, 0))
    on_host = detector.pipeline.backend.provider == "cpu"
    note = "engine works in host memory: shared, not copied" if on_host else "copied over the bus"
    return BytesMoved(into_engine=found["in"], out_of_engine=found["out"], note=note)


def _read_ahead(
    detector: Detector, source: Path | None, options: LatencyOptions, progress: Progress
) -> ReadAheadTimes | None:
    """None for what cannot be read again and again as fast as it goes: no video, a camera, a pace."""
    readable = source is not None and (source.is_file() or source.is_dir())
    if source is None or not readable or not options.passes or options.pace_fps is not None:
        return None
    with _output(options) as output:
        return time_read_ahead(
            detector,
            source,
            depth=_READ_AHEAD,
            frames=options.frames,
            passes=options.passes,
            output=output,
            progress=progress,
        )


def _timeline(frames: list[FrameTime]) -> Timeline:
    return Timeline(
        kind=tuple(frame.kind for frame in frames),
        model_ms=tuple(round(frame.model_ms, 3) for frame in frames),
        end_to_end_ms=tuple(round(frame.end_to_end_ms, 3) for frame in frames),
    )
