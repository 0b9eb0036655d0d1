"""Per-frame times of a video run, keyframe and propagated frames apart: stages, deadlines, jitter, sustained rate."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.benchmarks.harness import LatencySummary, RateSummary, summarize, summarize_rate
from lsts_edge.bundle.programs import PROGRAM_KINDS
from lsts_edge.errors import OptionError
from lsts_edge.statistics import nearest_rank

__all__ = [
    "AllTimes",
    "Deadlines",
    "FrameTime",
    "FramesSummary",
    "Jitter",
    "JitterOf",
    "KindTimes",
    "PacedMisses",
    "StageShare",
    "deadline_misses",
    "jitter",
    "paced_misses",
    "stage_split",
    "summarize_frames",
]


@dataclass(frozen=True)
class FrameTime:
    """Where one frame's time went, in milliseconds.

    ``end_to_end_ms`` runs from asking the source for the frame to drawn boxes; ``model_ms`` is the sum inside the
    engine's sessions. ``stages_ms`` are the parts by name; what no stage covers is the loop's own time, so a stage
    that is not reported cannot hide. ``wait_ms`` is how long a paced frame waited for the device before that.
    """

    frame: int
    kind: str
    end_to_end_ms: float
    model_ms: float
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    graphs_ms: Mapping[str, float] = field(default_factory=dict)
    wait_ms: float = 0.0


@dataclass(frozen=True)
class StageShare:
    """Percentiles of one stage or graph, and its share of the end-to-end time."""

    n: int
    p50_ms: float
    p95_ms: float
    share: float


@dataclass(frozen=True)
class KindTimes:
    """Frames of one kind: model-only and end to end, stages and graphs by name."""

    model: LatencySummary
    end_to_end: LatencySummary
    stages: Mapping[str, StageShare]
    graphs: Mapping[str, StageShare]


@dataclass(frozen=True)
class AllTimes:
    """All frames; ``overhead`` is end to end without the sessions, the decoder, the drawing and the encoder."""

    model: RateSummary
    end_to_end: RateSummary
    overhead: LatencySummary


@dataclass(frozen=True)
class Jitter:
    """How unsteady times are: spread, tail over median, and mean step from one frame to the next."""

    standard_deviation_ms: float
    p99_minus_p50_ms: float
    mean_step_ms: float


@dataclass(frozen=True)
class JitterOf:
    """Jitter of the model alone and end to end."""

    model: Jitter
    end_to_end: Jitter


@dataclass(frozen=True)
class Deadlines:
    """What a camera of a rate would see; ``over_budget`` counts frames whose own time exceeds the period.

    ``backlog_end_ms`` is how far behind the last frame is finished, near 0 when the device keeps up.
    """

    camera_fps: float
    frames: int
    over_budget: int
    late: int
    result_age_p50_ms: float
    result_age_p99_ms: float
    backlog_end_ms: float


@dataclass(frozen=True)
class PacedMisses:
    """What a camera of a rate did see."""

    pace_fps: float
    frames: int
    late: int
    result_age: LatencySummary


@dataclass(frozen=True)
class FramesSummary:
    """Everything a reader asks of a run, by kind of frame and over all."""

    by_kind: Mapping[str, KindTimes]
    all: AllTimes
    jitter: JitterOf
    deadlines: Deadlines


def deadline_misses(service_ms: Sequence[float], camera_fps: float) -> Deadlines:
    """What a camera of that rate would see if every frame has to be processed, in order.

    Frame ``i`` arrives at ``i * period`` and waits for the one before it; it is late when it is finished after
    the next frame has arrived.

    Args:
        service_ms: time per frame, in order, waiting excluded.
        camera_fps: rate of arrival, above 0.

    Raises:
        OptionError: if the rate is not positive.
    """
    if not camera_fps > 0:
        raise OptionError("camera rate", got=camera_fps, expected="above 0 per second", fix="Give --camera-fps 30.")
    period_ms = 1e3 / camera_fps
    free_ms = 0.0
    late = 0
    ages = []
    for index, service in enumerate(service_ms):
        arrival = index * period_ms
        free_ms = max(free_ms, arrival) + service
        ages.append(free_ms - arrival)
        late += ages[-1] > period_ms
    return Deadlines(
        camera_fps=camera_fps,
        frames=len(service_ms),
        over_budget=sum(service > period_ms for service in service_ms),
        late=late,
        result_age_p50_ms=round(nearest_rank(ages, 50), 3),
        result_age_p99_ms=round(nearest_rank(ages, 99), 3),
        backlog_end_ms=round(max(ages[-1] - period_ms, 0.0), 3),
    )


def paced_misses(frames: Sequence[FrameTime], pace_fps: float) -> PacedMisses:
    """What a camera of that rate did see: a frame is late when its boxes come after the next frame has arrived."""
    ages = [frame.wait_ms + frame.end_to_end_ms for frame in frames]
    return PacedMisses(pace_fps, len(frames), sum(age > 1e3 / pace_fps for age in ages), summarize(ages))


def jitter(times_ms: Sequence[float]) -> Jitter:
    """Of times in order, at least one."""
    steps = [abs(b - a) for a, b in itertools.pairwise(times_ms)]
    return Jitter(
        standard_deviation_ms=round(statistics.pstdev(times_ms), 4),
        p99_minus_p50_ms=round(nearest_rank(times_ms, 99) - nearest_rank(times_ms, 50), 4),
        mean_step_ms=round(statistics.fmean(steps), 4) if steps else 0.0,
    )


def stage_split(
    frames: Sequence[FrameTime], parts: Literal["stages_ms", "graphs_ms"] = "stages_ms"
) -> dict[str, StageShare]:
    """Per stage (or graph): percentiles over the frames that have it, and its share of the end-to-end time.

    Stages also get ``(outside stages)``: end to end minus everything named, so that the shares add up to 1.

    Args:
        frames: of one kind.
        parts: ``stages_ms`` or ``graphs_ms``.
    """
    total_ms = sum(frame.end_to_end_ms for frame in frames)
    columns: dict[str, list[float]] = {}
    for frame in frames:
        named: Mapping[str, float] = getattr(frame, parts)
        for name, value in named.items():
            columns.setdefault(name, []).append(value)
        if parts == "stages_ms":
            columns.setdefault("(outside stages)", []).append(frame.end_to_end_ms - sum(named.values()))
    found = {}
    for name, values in columns.items():
        summary = summarize(values)
        found[name] = StageShare(summary.n, summary.p50_ms, summary.p95_ms, round(sum(values) / total_ms, 4))
    return found


def _overhead_ms(frame: FrameTime) -> float:
    outside = sum(frame.stages_ms.get(stage, 0.0) for stage in ("decode", "draw", "encode"))
    return frame.end_to_end_ms - frame.model_ms - outside


def summarize_frames(frames: Sequence[FrameTime], camera_fps: float) -> FramesSummary:
    """Times by kind of frame and over all, model-only and end-to-end side by side.

    Raises:
        OptionError: if there is no frame.
    """
    if not frames:
        raise OptionError("frames to summarise", got="none", expected="at least 1", fix="Time more frames.")
    by_kind: dict[str, KindTimes] = {}
    for kind in PROGRAM_KINDS:
        chosen = [frame for frame in frames if frame.kind == kind]
        if chosen:
            by_kind[kind] = KindTimes(
                model=summarize([frame.model_ms for frame in chosen]),
                end_to_end=summarize([frame.end_to_end_ms for frame in chosen]),
                stages=stage_split(chosen),
                graphs=stage_split(chosen, "graphs_ms"),
            )
    model = [frame.model_ms for frame in frames]
    whole = [frame.end_to_end_ms for frame in frames]
    overhead = summarize([_overhead_ms(frame) for frame in frames])
    return FramesSummary(
        by_kind=by_kind,
        all=AllTimes(summarize_rate(model), summarize_rate(whole), overhead),
        jitter=JitterOf(jitter(model), jitter(whole)),
        deadlines=deadline_misses(whole, camera_fps),
    )
