"""The result of ``bench latency``: frames by kind, stages, subgraphs, cold start, memory, energy, deadlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.cold_start import ColdStart
from lsts_edge.benchmarks.conditions import Conditions
from lsts_edge.benchmarks.engine_facts import EngineFacts
from lsts_edge.benchmarks.envelope import BundleFacts, Result
from lsts_edge.benchmarks.frame_times import FramesSummary, PacedMisses, StageShare
from lsts_edge.benchmarks.read_ahead import ReadAheadTimes
from lsts_edge.benchmarks.timed_clip import ClipFacts

__all__ = [
    "BytesMoved",
    "LatencyData",
    "LatencyResult",
    "LatencySettings",
    "PerFrame",
    "SubgraphTimes",
    "Timeline",
]


@dataclass(frozen=True)
class LatencySettings:
    """What was measured and how; ``clip_size`` where the procedural clip was encoded first."""

    frames: int
    warmup_frames: int
    split_frames: int
    cold_starts: int
    camera_fps: float
    pace_fps: float | None
    draw: bool
    write_video: bool
    clip_size: str | None
    score_threshold: float
    keyframe_interval: int | float
    engine: EngineFacts
    clip: ClipFacts
    passes: int = 0


@dataclass(frozen=True)
class SubgraphTimes:
    """Times of the subgraphs of one kind of frame, from a run with joined graphs taken apart."""

    graphs: Mapping[str, StageShare]
    model_p50_ms: float


@dataclass(frozen=True)
class PerFrame:
    """Processor time and energy per frame, warm-up frames counted in both; one of energy and its reason is None."""

    cpu_time_ms: float
    energy_mj: float | None
    energy_reason: str | None
    frames_counted: int


@dataclass(frozen=True)
class BytesMoved:
    """Bytes that went into and came out of the engine's tensors, by kind of frame: the most of any frame."""

    into_engine: Mapping[str, int]
    out_of_engine: Mapping[str, int]
    note: str


@dataclass(frozen=True)
class Timeline:
    """Every timed frame's kind and times, in order."""

    kind: tuple[str, ...]
    model_ms: tuple[float, ...]
    end_to_end_ms: tuple[float, ...]


@dataclass(frozen=True)
class LatencyData:
    """What was measured; ``bytes`` is None in results from before tensors were counted.

    ``times`` decode in turn; ``read_ahead`` is None where nothing is decoded, or it was not asked for.
    """

    times: FramesSummary
    paced: PacedMisses | None
    subgraphs: Mapping[str, SubgraphTimes] | None
    cold_start: ColdStart | None
    per_frame: PerFrame
    bytes: BytesMoved | None
    timeline: Timeline
    read_ahead: ReadAheadTimes | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyResult(Result):
    """How fast a bundle is on one device."""

    kind: Literal["latency"] = "latency"
    bundle: BundleFacts
    conditions: Conditions
    settings: LatencySettings
    data: LatencyData

    @property
    def label(self) -> str:
        """Engine, precision, and what was out of the ordinary."""
        settings = self.settings
        label = f"{settings.engine.backend} {self.bundle.precision(settings.engine.precision).label}"
        if settings.pace_fps:
            label += f", fed at {settings.pace_fps:g} fps"
        return label + (", video written" if settings.write_video else "")
