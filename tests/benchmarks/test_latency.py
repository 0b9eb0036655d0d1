"""``bench latency`` on a real bundle: sessions that take a known time, a planted slow graph, a slow drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_time import PlantedTime, plant_time

from lsts_edge.benchmarks.cold_start import cold_start
from lsts_edge.benchmarks.encoded_clip import encode_clip
from lsts_edge.benchmarks.frame_times import stage_split
from lsts_edge.benchmarks.latency import LatencyOptions, measure_latency
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.read_ahead import time_read_ahead
from lsts_edge.benchmarks.results import read_result, to_json, write_result
from lsts_edge.benchmarks.timed_clip import Clip, run_clip
from lsts_edge.errors import BenchmarkResult, BundleError, OptionError
from lsts_edge.runtime import Detections, Detector
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor

QUICK = LatencyOptions(frames=24, warmup_frames=4, cold_starts=0)


class SleepingSession(Session):
    """A real session that takes a known time longer."""

    def __init__(self, session: Session, clock: PlantedTime, sleep_ms: float) -> None:
        self._session, self._clock = session, clock
        self._sleep_s = sleep_ms / 1e3
        self.inputs = session.inputs
        self.outputs = session.outputs
        self.tensors = session.tensors

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._clock.sleep(self._sleep_s)
        return self._session.run_tensors(feeds)


class SleepingBackend:
    """A real engine whose graphs sleep as planted, by name."""

    def __init__(self, clock: PlantedTime, sleeps_ms: Mapping[str, float]) -> None:
        self._clock = clock
        self._backend = open_backend(EngineOptions(threads=1))
        self._sleeps_ms = sleeps_ms
        self.name, self.provider, self.version = "sleeping", "cpu", "1"
        self.tensors = self._backend.tensors

    def load(self, model: bytes, name: str) -> Session:
        return SleepingSession(self._backend.load(model, name), self._clock, self._sleeps_ms.get(name, 0.0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PlantedTime:
    """Only what is planted takes time."""
    modules = (
        "runtime.pipeline",
        "runtime.runners.network",
        "runtime.executor",
        "runtime.detector",
        "benchmarks.timed_clip",
    )
    return plant_time(monkeypatch, *(f"lsts_edge.{module}" for module in modules))


def by_kind(frames: list, kind: str) -> list:
    return [frame for frame in frames if frame.kind == kind]


@pytest.fixture
def clip() -> Clip:
    return Clip(procedural_frames=20)


def test_known_times_give_known_percentiles(hand_made_bundle: Path, clip: Clip, clock: PlantedTime) -> None:
    """Keyframes run heavy and head, the others heavy, blend and head: 20 + 5 and 20 + 10 + 5 ms are planted."""
    backend = SleepingBackend(clock, {"heavy": 20.0, "blend": 10.0, "head": 5.0})
    detector = Detector(hand_made_bundle, EngineOptions(backend))  # type: ignore[arg-type]
    frames = run_clip(detector, clip, frames=40, warmup_frames=0)
    assert [frame.kind for frame in frames[:11]] == ["first", *["propagated"] * 9, "keyframe"]
    assert frames[20].kind == "first", "the clip starts again, and so does the stream"
    split = stage_split(by_kind(frames, "propagated"), "graphs_ms")
    assert {graph: split[graph].p50_ms for graph in split} == {"heavy": 20.0, "blend": 10.0, "head": 5.0}
    assert "blend" not in stage_split(by_kind(frames, "keyframe"), "graphs_ms")
    for frame in frames:
        assert frame.model_ms == (35.0 if frame.kind == "propagated" else 25.0)
        assert sum(frame.stages_ms.values()) == frame.end_to_end_ms == frame.model_ms


def test_on_the_real_clock_the_stages_fit_into_the_frame(hand_made_bundle: Path, clip: Clip) -> None:
    for frame in run_clip(Detector(hand_made_bundle), clip, frames=20, warmup_frames=0):
        assert min(frame.stages_ms["preprocess"], frame.model_ms, frame.stages_ms["postprocess"]) > 0
        assert sum(frame.stages_ms.values()) <= frame.end_to_end_ms


def test_a_planted_slow_graph_is_seen(hand_made_bundle: Path, clip: Clip, clock: PlantedTime) -> None:
    slow = Detector(hand_made_bundle, EngineOptions(SleepingBackend(clock, {"head": 25.0})))  # type: ignore[arg-type]
    frames = run_clip(slow, clip, frames=20, warmup_frames=2)
    split = stage_split(by_kind(frames, "propagated"), "graphs_ms")
    assert {graph: split[graph].p50_ms for graph in split} == {"heavy": 0.0, "blend": 0.0, "head": 25.0}


def test_a_planted_slow_stage_is_seen(hand_made_bundle: Path, clip: Clip, clock: PlantedTime) -> None:
    def slow_drawing(frame: np.ndarray, found: Detections) -> dict[str, float]:
        clock.sleep(0.04)
        return {"draw": 40.0}

    detector = Detector(hand_made_bundle, EngineOptions(SleepingBackend(clock, {"heavy": 10.0})))  # type: ignore[arg-type]
    frames = run_clip(detector, clip, frames=10, warmup_frames=2, output=slow_drawing)
    split = stage_split(by_kind(frames, "propagated"))
    assert max(split, key=lambda stage: split[stage].share) == "draw"
    assert (split["draw"].p50_ms, split["model"].p50_ms) == (40.0, 10.0)
    assert {frame.end_to_end_ms for frame in frames} == {50.0}


def test_pace_holds_the_rate_and_shows_the_queue(hand_made_bundle: Path, clip: Clip, clock: PlantedTime) -> None:
    idle = Detector(hand_made_bundle, EngineOptions(SleepingBackend(clock, {})))  # type: ignore[arg-type]
    frames = run_clip(idle, clip, frames=20, warmup_frames=0, pace_fps=50)
    assert clock.now_ns == 20 * 20_000_000, "that the clip is over is seen when its next frame is due"
    assert {frame.wait_ms for frame in frames} == {0.0}
    overloaded = Detector(hand_made_bundle, EngineOptions(SleepingBackend(clock, {"heavy": 30.0})))  # type: ignore[arg-type]
    frames = run_clip(overloaded, clip, frames=15, warmup_frames=0, pace_fps=50)
    assert [frame.wait_ms for frame in frames] == [10.0 * index for index in range(15)], "each 10 ms further behind"
    assert {frame.end_to_end_ms for frame in frames} == {30.0}, "waiting is told apart from work"


def test_the_whole_result(hand_made_bundle: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    result = measure_latency(hand_made_bundle, None, QUICK, lambda *told: seen.append(told))
    data = result.data
    assert set(data.times.by_kind) == {"keyframe", "propagated"}, "the first frame was warm-up"
    assert data.times.by_kind["keyframe"].model.n == 2
    assert data.times.by_kind["propagated"].model.n == 22
    assert data.times.all.model.fps > data.times.all.end_to_end.fps
    assert len(data.timeline.kind) == 24
    assert data.per_frame.cpu_time_ms > 0
    assert result.settings.engine.provider == "cpu"
    assert result.bundle.digest and result.bundle.name == "hand-made"
    assert (data.per_frame.energy_mj is None) == (data.per_frame.energy_reason is not None)
    moved = data.bytes
    assert moved is not None
    kinds = ("first", "propagated", "keyframe")
    assert moved.into_engine == dict.fromkeys(kinds, 64 * 96 * 3), "the image and no state"
    assert moved.out_of_engine == dict.fromkeys(kinds, 4 * 4 + 4 + 8), "one box"
    assert seen[-1] == ("frames", 28, 28)
    assert str(hand_made_bundle) not in to_json(result)


def test_decoding_beside_detection_is_told_by_pairs_of_passes(hand_made_bundle: Path, tmp_path: Path) -> None:
    """Where there is something to decode: 120 frames, of which the passes take 30."""
    options = LatencyOptions(frames=30, warmup_frames=2, cold_starts=0, passes=6, clip_size="96x64")
    result = measure_latency(hand_made_bundle, None, options)
    found = result.data.read_ahead
    assert found is not None and result.settings.passes == 6
    assert (found.frames, found.in_turn.n, found.beside.n, found.speedup.n) == (30, 6, 6, 6)
    assert found.speedup.low is not None and found.speedup.high is not None
    assert found.speedup.low <= found.speedup.median <= found.speedup.high
    assert min(found.in_turn.fps, found.beside.fps) > 0
    stages = result.data.times.by_kind["keyframe"].stages
    assert stages["decode"].p50_ms > 0, "all other times decode in turn"
    write_result(tmp_path / "latency.json", result)
    assert read_result(tmp_path / "latency.json") == result
    for others in ({"passes": 0}, {"pace_fps": 1000.0}):
        assert measure_latency(hand_made_bundle, None, replace(options, **others)).data.read_ahead is None
    assert measure_latency(hand_made_bundle, None, QUICK).data.read_ahead is None, "drawn before: nothing to decode"


def test_passes_are_whole_runs_from_the_first_frame(hand_made_bundle: Path, tmp_path: Path) -> None:
    clip = encode_clip(tmp_path, 64, 96)
    seen: list[tuple[int, str]] = []

    def output(frame: np.ndarray, found: Detections) -> dict[str, float]:
        seen.append((found.frame, found.kind))
        return {}

    found = time_read_ahead(Detector(hand_made_bundle), clip, depth=2, frames=500, passes=1, output=output)
    assert (found.depth, found.frames, found.in_turn.n) == (2, 120, 1)
    assert len(seen) == 4 * 120, "a pair that is timed and one before it"
    assert seen == seen[:120] * 4 and seen[0] == (0, "first") and seen[119][0] == 119


def test_writing_a_video_is_a_stage_and_leaves_nothing(hand_made_bundle: Path) -> None:
    options = LatencyOptions(frames=6, warmup_frames=2, cold_starts=0, write_video=True)
    stages = measure_latency(hand_made_bundle, None, options).data.times.by_kind["propagated"].stages
    assert stages["encode"].p50_ms > 0
    assert stages["draw"].p50_ms > 0


def test_cold_start_in_fresh_processes(hand_made_bundle: Path) -> None:
    found = cold_start(hand_made_bundle, EngineOptions(threads=1), repeats=2, more_frames=2)
    phases = found.phases
    assert list(phases) == ["interpreter", "import", "load", "first_boxes", "total"]
    assert all(phase.n == 2 and phase.min_ms > 0 for phase in phases.values())
    parts = sum(phases[name].min_ms for name in ("interpreter", "import", "load", "first_boxes"))
    assert parts <= phases["total"].max_ms
    assert found.memory["peak_rss_mib"] >= found.memory["rss_mib"] > 20


def test_cold_start_tells_a_failure(hand_made_bundle: Path) -> None:
    (hand_made_bundle / "heavy.onnx").write_bytes(b"damaged")
    with pytest.raises(BenchmarkResult, match=r"heavy\.onnx"):
        cold_start(hand_made_bundle, repeats=1)
    with pytest.raises(OptionError, match="cold starts"):
        cold_start(hand_made_bundle, repeats=0)


@pytest.mark.parametrize(
    "option",
    [
        {"frames": 0},
        {"warmup_frames": -1},
        {"camera_fps": 0},
        {"pace_fps": float("nan")},
        {"cold_starts": -1},
        {"passes": -1},
    ],
)
def test_absurd_options(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(option))):
        LatencyOptions(**option)  # type: ignore[arg-type]


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        measure_latency(tmp_path / "none", None, QUICK)


def test_command(hand_made_bundle: Path, tmp_path: Path, lsts_edge_command: Callable[..., object]) -> None:
    output = tmp_path / "results" / "latency.json"
    words = ("bench", "latency", hand_made_bundle, "--frames", 12, "--warmup-frames", 2, "--cold-starts", 1)
    done = lsts_edge_command(*words, "--pace", 200, "--output", output)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    lines = done.stdout.splitlines()  # type: ignore[attr-defined]
    assert lines[-1].startswith("result      keyframe p50 ")
    assert any(line.startswith("paced       at 200 fps") for line in lines)
    result = read_result(output)
    assert isinstance(result, LatencyResult) and result.settings.pace_fps == 200.0
    failed = lsts_edge_command("bench", "latency", tmp_path / "none")
    assert failed.returncode == 3  # type: ignore[attr-defined]
    assert failed.stderr.startswith("error[bundle]")  # type: ignore[attr-defined]
