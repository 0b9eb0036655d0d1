"""Benchmark results made of a few numbers, whole as the dataclasses want them, for tests of reports and targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lsts_edge.benchmarks.cold_start import ColdStart
from lsts_edge.benchmarks.compare_result import (
    CompareData,
    CompareResult,
    CompareRow,
    CompareSettings,
    EntryAccuracy,
    EntryFacts,
    PartTimes,
    RatioAgainst,
)
from lsts_edge.benchmarks.conditions import Conditions, EnergyUsed
from lsts_edge.benchmarks.engine_facts import EngineFacts
from lsts_edge.benchmarks.envelope import BundleFacts, Origin, Precision
from lsts_edge.benchmarks.frame_times import FrameTime, summarize_frames
from lsts_edge.benchmarks.harness import RateSummary, summarize
from lsts_edge.benchmarks.latency_result import LatencyData, LatencyResult, LatencySettings, PerFrame, Timeline
from lsts_edge.benchmarks.machine import Device
from lsts_edge.benchmarks.timed_clip import ClipFacts

__all__ = [
    "CONDITIONS",
    "DEVICE",
    "ORIGIN",
    "bundle_facts",
    "compare_result",
    "compare_row",
    "entry_accuracy",
    "entry_facts",
    "latency_result",
    "part_times",
]

DEVICE = Device(
    architecture="x86_64",
    cpu_model="A processor",
    logical_cores=2,
    usable_cores=2,
    cpu_flags=("avx2",),
    cpu_cache={"L2 unified": "1024K"},
    virtual_machine=False,
    memory_gib=8,
    system="Linux 6.1",
    distribution="A distribution",
    python="3.11.7",
    board=None,
    gpus=(),
)
ORIGIN = Origin("2026-01-01T00:00:00+00:00", None, DEVICE, {"numpy": "2.4.6"})
CONDITIONS = Conditions(
    wall_s=1.0,
    cpu_time_s=1.0,
    busy_by_others=0.01,
    load_average=(0.1, 0.2),
    peak_rss_mib=123.4,
    governor="performance",
    clock_mhz=(None, None),
    power_mode=None,
    throttle_events=0,
    temperature_c=(None, None),
    energy=EnergyUsed(None, None, "no meter"),
)
_CLIP = ClipFacts("clip.mp4", None, True, (360, 640))


def bundle_facts(name: str, *, digest: str = "ab" * 32, random: bool = False, **precisions: str) -> BundleFacts:
    """A bundle without LSTS; ``precisions`` by graph."""
    return BundleFacts(name, digest, "some weights", random, (600, 1000), precisions, None)


def entry_facts(method: str, precision: Precision | None = None, **more: Any) -> EntryFacts:
    """An entry on ONNX Runtime, in float32 unless told."""
    return EntryFacts(method, "onnxruntime", "cpu", precision or Precision(), (600, 1000), **more)


def entry_accuracy(ap50: float, keyframe_interval: int = 10, **shared: float | None) -> EntryAccuracy:
    """Class-agnostic AP50, and per shared group."""
    return EntryAccuracy(12, 2, keyframe_interval, ap50, (ap50 - 0.1, ap50 + 0.1), shared, None)


def part_times(mean_ms: float, fastest_fp32: float | None = 9.6) -> PartTimes:
    """Every frame takes ``mean_ms``; 2.4 times faster than per frame on the same engine."""
    return PartTimes(
        all=RateSummary(**vars(summarize([mean_ms])), fps=round(1e3 / mean_ms, 3)),
        ratio_same_engine=RatioAgainst(2.4, None, None, 6, against="per-frame"),
        ratio_fastest_fp32=fastest_fp32 and RatioAgainst(fastest_fp32, None, None, 6, against="per-frame"),
    )


def compare_row(method: str, mean_ms: float, precision: Precision | None = None, **more: Any) -> CompareRow:
    """A row whose paired ratios are 9.6 in the model, and from frame to boxes as of a baseline of 60 ms."""
    facts = entry_facts(method, precision, **{name: more.pop(name) for name in ("bundle", "form") if name in more})
    row = CompareRow(facts, 0, part_times(mean_ms), part_times(mean_ms, 60.0 / mean_ms), {}, None)
    return replace(row, **more)


def compare_result(bundle: str | BundleFacts, *rows: CompareRow, **data: Any) -> CompareResult:
    """A comparison at keyframe interval 10."""
    settings = CompareSettings(
        segments=2,
        warmup_segments=1,
        frames_per_segment=10,
        keyframe_interval=10,
        seed=0,
        threads=2,
        score_floor=0.01,
        methods={"lsts": "ours", "per-frame": "the heavy network on every frame"},
        flow="some flow",
        peers=(),
        annotations=None,
        clip=_CLIP,
    )
    return CompareResult(
        origin=ORIGIN,
        bundle=bundle_facts(bundle) if isinstance(bundle, str) else bundle,
        conditions=CONDITIONS,
        settings=settings,
        data=CompareData(rows, **{"left_out": {}, "fastest_per_frame_fp32": None, **data}),
    )


def latency_result(
    frames: list[FrameTime], bundle: BundleFacts, *, total_ms: float = 812.0, rss_mib: float = 222.0, **settings: Any
) -> LatencyResult:
    """A run of ``frames``; ``settings`` change those of an unpaced run on a decoded clip of 640x360."""
    engine = EngineFacts("onnxruntime", "1.32.0", "cpu", None, "fp32", None, None, False)
    chosen = LatencySettings(
        frames=len(frames),
        warmup_frames=0,
        split_frames=0,
        cold_starts=3,
        camera_fps=30.0,
        pace_fps=None,
        draw=True,
        write_video=False,
        clip_size=None,
        score_threshold=0.3,
        keyframe_interval=10,
        engine=engine,
        clip=_CLIP,
    )
    phases = dict.fromkeys(("interpreter", "import", "load", "first_boxes", "total"), summarize([total_ms]))
    return LatencyResult(
        origin=ORIGIN,
        bundle=bundle,
        conditions=CONDITIONS,
        settings=replace(chosen, **settings),
        data=LatencyData(
            times=summarize_frames(frames, 30.0),
            paced=None,
            subgraphs=None,
            cold_start=ColdStart(3, "warm", phases, {"rss_mib": rss_mib}, 21),
            per_frame=PerFrame(20.0, None, "no meter", len(frames)),
            bytes=None,
            timeline=Timeline(
                kind=tuple(frame.kind for frame in frames),
                model_ms=tuple(frame.model_ms for frame in frames),
                end_to_end_ms=tuple(frame.end_to_end_ms for frame in frames),
            ),
        ),
    )
