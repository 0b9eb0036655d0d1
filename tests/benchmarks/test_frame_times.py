"""A planted slow stage, a planted late keyframe and a planted stall show up where they were planted."""

from __future__ import annotations

import pytest

from lsts_edge.benchmarks.frame_times import (
    FrameTime,
    Jitter,
    deadline_misses,
    jitter,
    stage_split,
    summarize_frames,
)
from lsts_edge.benchmarks.harness import LatencySummary, summarize_rate
from lsts_edge.errors import OptionError


def video(frames: int = 30, slow_stage_ms: float = 0.0, hidden_ms: float = 0.0) -> list[FrameTime]:
    """A run at interval 10: keyframes 40 ms in the model, others 8 ms, 5 ms around."""
    times = []
    for index in range(frames):
        kind = "first" if index == 0 else "keyframe" if index % 10 == 0 else "propagated"
        model = 8.0 if kind == "propagated" else 40.0
        stages = {"decode": 2.0, "preprocess": 1.0, "model": model, "draw": 2.0 + slow_stage_ms}
        whole = sum(stages.values()) + hidden_ms
        times.append(FrameTime(index, kind, whole, model, stages, {"light": model * 0.75, "head": model * 0.25}))
    return times


def test_kinds_stay_apart() -> None:
    summary = summarize_frames(video(), camera_fps=30)
    assert summary.by_kind["keyframe"].model == LatencySummary(2, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0)
    assert summary.by_kind["propagated"].model.p50_ms == 8.0
    assert summary.by_kind["propagated"].end_to_end.p50_ms == 13.0
    assert summary.all.overhead.p50_ms == 1.0, "5 ms around, of which decode 2 and draw 2"
    assert summary.all.model.fps == pytest.approx(1e3 * 30 / (3 * 40 + 27 * 8), abs=1e-3)


def test_a_planted_slow_stage_is_seen() -> None:
    clean = stage_split([frame for frame in video() if frame.kind == "propagated"])
    slow = stage_split([frame for frame in video(slow_stage_ms=30.0) if frame.kind == "propagated"])
    assert clean["draw"].p50_ms == 2.0
    assert slow["draw"].p50_ms == 32.0
    assert max(slow, key=lambda name: slow[name].share) == "draw"
    assert max(clean, key=lambda name: clean[name].share) == "model"
    assert sum(stage.share for stage in slow.values()) == pytest.approx(1.0, abs=1e-3)


def test_time_outside_every_stage_is_seen() -> None:
    split = stage_split([frame for frame in video(hidden_ms=7.0) if frame.kind == "propagated"])
    assert split["(outside stages)"].p50_ms == 7.0


def test_deadlines_with_a_queue() -> None:
    times = [frame.end_to_end_ms for frame in video()]
    fast = deadline_misses(times, camera_fps=30)
    assert fast.over_budget == 3, "three frames take 45 ms of 33.3 ms"
    assert fast.late == 3, "the next frame (13 ms) makes up for 11.7 ms of delay"
    assert fast.backlog_end_ms == 0.0
    slow = deadline_misses([50.0] * 100, camera_fps=30)
    assert slow.late == 100
    assert slow.backlog_end_ms == pytest.approx(100 * 50 - 99 * 1e3 / 30 - 1e3 / 30, abs=0.01)
    with pytest.raises(OptionError, match="camera rate"):
        deadline_misses(times, camera_fps=0)


def test_jitter_and_rate() -> None:
    assert jitter([10.0] * 20) == Jitter(0.0, 0.0, 0.0)
    assert jitter([10.0, 20.0] * 10).mean_step_ms == 10.0
    assert summarize_rate([10.0, 30.0]).fps == 50.0
    with pytest.raises(OptionError, match="frames to summarise"):
        summarize_frames([], camera_fps=30)
