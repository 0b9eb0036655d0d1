"""The comparison runs what it says: programs without dead steps, shared sessions, paired segments, real bundles."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from made_results import entry_facts
from planted_time import PlantedTime, plant_time

from lsts_edge.benchmarks.compare import Entry, RunSettings, run_comparison, summarize_entry, time_segments
from lsts_edge.benchmarks.contestants import BundleContestant, Outcome
from lsts_edge.benchmarks.lineup import EngineChoice, LineupOptions, compare_bundle, line_up
from lsts_edge.benchmarks.results import to_json
from lsts_edge.benchmarks.rivals import METHODS, OF_A_WAY, method_runner, method_scheduler
from lsts_edge.benchmarks.suite import LITE_INT8_BUNDLE
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.bundle.propagation import PropagationInfo, PropagationWay
from lsts_edge.clips import moving_clip
from lsts_edge.errors import OptionError, ProviderUnavailable
from lsts_edge.runtime import Detector
from lsts_edge.runtime.engines.loads_once import LoadsOnce
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.timings import Timings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """``lsts-tiny`` with random weights: split graphs in two forms, and joined ones."""
    pytest.importorskip("torch")
    from lsts_edge.export.exporter import export_model
    from lsts_edge.model import random_network
    from lsts_edge.presets import get_preset

    network = random_network(get_preset("lsts-tiny"), 0).eval()
    weights = WeightsInfo("random", "none", "random weights", seed=0)
    exported = export_model(network, weights, forms=("taps", "gridsample"), joined=True)
    return write_bundle(tmp_path_factory.mktemp("tiny") / "bundle", exported.manifest, exported.files)


APPLICABLE = [method for method in METHODS if method not in OF_A_WAY]
"""Methods that need no way of their own in the bundle."""


@pytest.fixture(scope="module")
def images(tiny: Bundle) -> list[np.ndarray]:
    size = tiny.manifest.input
    return list(moving_clip(12, size.height_px, size.width_px))


def run(contestant: Any, frames: list[np.ndarray], interval: int = 5) -> list[Outcome]:
    contestant.start()
    return [contestant.detect(frame, index % interval == 0) for index, frame in enumerate(frames)]


def contestant(bundle: Bundle, method: str, *, form: str | None = "taps", joined: bool = False) -> BundleContestant:
    backend = LoadsOnce(open_backend(EngineOptions(threads=1)))
    form = form if bundle.manifest.lsts else None
    runner = method_runner(bundle, method, backend, form=form, joined=joined)
    return BundleContestant(bundle.manifest.classes, runner, 0.0)


def test_ours_is_the_runtimes_own_answer(tiny: Bundle, images: list[np.ndarray]) -> None:
    engine = EngineOptions(threads=1, lsts_form="taps", joined=False)
    detector = Detector(tiny, engine, keyframe_interval=5, score_threshold=0.0)
    for image, outcome in zip(images, run(contestant(tiny, "lsts"), images), strict=True):
        assert detector.push(image).boxes == outcome.boxes
    detector = Detector(tiny, engine, propagator="flow-boxes", keyframe_interval=5, score_threshold=0.0)
    for image, outcome in zip(images, run(contestant(tiny, "flow-boxes"), images), strict=True):
        assert detector.push(image).boxes == outcome.boxes


@pytest.mark.parametrize("method", APPLICABLE)
def test_every_method_runs(tiny: Bundle, images: list[np.ndarray], method: str) -> None:
    mine = contestant(tiny, method)
    assert mine.propagates == (method != "per-frame")
    found = run(mine, images)
    assert all(np.isfinite(one.boxes.xyxy_px).all() and one.timings.total_ms > 0 for one in found)
    per_frame = run(contestant(tiny, "per-frame"), images[:1])
    assert found[0].boxes == per_frame[0].boxes, "a first frame is the detector's own"
    between = [one.boxes.xyxy_px for one in found[:5]]
    if method == "hold":
        assert all(np.array_equal(one, between[0]) for one in between)
        assert found[5].boxes != found[0].boxes
    else:
        assert any(not np.array_equal(a, b) for a, b in itertools.pairwise(between))


def test_what_a_method_leaves_out(tiny: Bundle, images: list[np.ndarray]) -> None:
    graphs = {
        method: [set(one.timings.graphs_ms) for one in run(contestant(tiny, method), images)] for method in APPLICABLE
    }
    assert graphs["per-frame"] == [{"heavy", "head"}] * len(images), "nobody reads the embedding"
    for method in ("hold", "flow-boxes"):
        assert graphs[method][:6] == [{"heavy", "head"}, *[set()] * 4, {"heavy", "head"}]
    assert graphs["flow-warp"][:2] == [{"heavy", "head", "flow_key"}, {"flow_warp", "head"}]
    aggregate = graphs["flow-warp-aggregate"]
    assert not any(name.startswith("embed") for names in aggregate for name in names)
    assert "flow_key" in aggregate[5] and "lsts_key" in aggregate[5] and "lsts_current" in aggregate[1]
    for method in ("match-trans", "non-local"):
        assert graphs[method] == graphs["lsts"]


def test_joined_and_split_agree(tiny: Bundle, images: list[np.ndarray]) -> None:
    for method in ("per-frame", "lsts"):
        split = run(contestant(tiny, method), images)
        joined = run(contestant(tiny, method, joined=True), images)
        for a, b in zip(split, joined, strict=True):
            assert len(a.boxes) == len(b.boxes)
            np.testing.assert_allclose(a.boxes.scores, b.boxes.scores, atol=1e-4)


def test_joined_per_frame_is_one_graph(tiny: Bundle, images: list[np.ndarray]) -> None:
    (found,) = run(contestant(tiny, "per-frame", joined=True), images[:1])
    assert set(found.timings.graphs_ms) == {"per_frame"}


def test_equal_bytes_are_loaded_once(tiny: Bundle) -> None:
    loaded: list[str] = []
    backend = open_backend(EngineOptions(threads=1))

    class Counting:
        name, provider, version, tensors = "counting", "cpu", "1", backend.tensors

        def load(self, model: bytes, name: str) -> Any:
            loaded.append(name)
            return backend.load(model, name)

    shared = LoadsOnce(Counting())
    for method in ("per-frame", "hold", "match-trans", "lsts"):
        method_runner(tiny, method, shared, form="taps", joined=False)
    assert loaded.count("heavy") == loaded.count("head") == 1


class Timed:
    """A contestant whose frames take known times."""

    classes = ("thing",)
    decides = False

    def __init__(self, clock: PlantedTime, key_ms: float, other_ms: float, propagates: bool = True) -> None:
        self._clock, self.propagates = clock, propagates
        self._times = (key_ms, other_ms)
        self.seen: list[bool] = []

    def start(self) -> None:
        self.seen.clear()

    def detect(self, frame: np.ndarray, keyframe: bool) -> Outcome:
        self.seen.append(keyframe)
        spent_ms = self._times[0 if keyframe or not self.propagates else 1]
        self._clock.sleep((1.0 + spent_ms) / 1e3)
        boxes = Boxes(np.zeros((2, 4)), np.zeros(2), np.zeros(2, np.int64))
        spent = Timings({"preprocess": 1.0, "propagate": 0.25 * spent_ms}, {"network": 0.75 * spent_ms})
        return Outcome(boxes, spent, keyframe or not self.propagates)


def test_known_times_give_the_known_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per frame 20 ms each; ours 20 + 4 x 5 ms an interval of five, two intervals a segment: 200 / 80 = 2.5."""
    clock = plant_time(monkeypatch, "lsts_edge.benchmarks.compare")
    slow, fast = Timed(clock, 20.0, 20.0, propagates=False), Timed(clock, 20.0, 5.0)
    per_frame = Entry(entry_facts("per-frame"), slow)
    entries = [per_frame, Entry(entry_facts("lsts"), fast, per_frame.name)]
    settings = RunSettings(segments=6, warmup_segments=1, keyframe_interval=5)
    times = time_segments(entries, Clip(procedural_frames=5), settings)
    assert settings.frames_per_segment == 10 and RunSettings(keyframe_interval=3).frames_per_segment == 12
    assert fast.seen == [True, False, False, False, False] * 2 * 7
    row = summarize_entry(entries[1], times, per_frame.name)
    assert row.model.ratio_same_engine.median == pytest.approx(2.5)
    assert row.frame_to_boxes.ratio_same_engine.median == pytest.approx(210 / 90, rel=1e-4), "with preprocessing"
    assert row.model.ratio_same_engine.n == 6
    assert row.model.keyframe.n == 12
    assert row.model.propagated.n == 48
    assert row.boxes == 120


def test_a_bundles_motion_decides_for_itself(tiny: Bundle, images: list[np.ndarray]) -> None:
    """Whatever keyframes the comparison asks for; what was run as one is timed as one."""
    way = PropagationWay("flow-boxes", 4, {"most_motion": 0.3, "motion_score": 0.0, "most_error": 1.0})
    ways = PropagationInfo("moved", {"moved": way})
    bundle = replace(tiny, manifest=replace(tiny.manifest, propagation=ways))
    runner = method_runner(bundle, "motion", LoadsOnce(open_backend(EngineOptions(threads=1))), form=None, joined=False)
    mine = BundleContestant(bundle.manifest.classes, runner, 0.0, method_scheduler(bundle.manifest, "motion"))
    assert mine.decides and not contestant(tiny, "flow-boxes").decides
    found = run(mine, images, interval=2)
    engine = EngineOptions(threads=1, joined=False)
    with Detector(bundle, engine, score_threshold=0.0, scene_cuts=False) as detector:
        for image, outcome in zip(images, found, strict=True):
            theirs = detector.push(image)
            assert theirs.boxes == outcome.boxes and outcome.keyframe == (theirs.kind != "propagated")
    mine.start()
    entry = Entry(entry_facts("motion"), mine)
    settings = RunSettings(segments=2, warmup_segments=1, keyframe_interval=10)
    times = time_segments([entry], Clip(procedural_frames=5), settings)[entry.name]
    keyframes = sum(sum(kinds) for kinds in times.keyframes)
    assert len(times.of_kind("model", keyframes=True)) == keyframes > 2, "more than an interval of ten has"
    with pytest.raises(OptionError, match="a bundle with such a way"):
        method_scheduler(tiny.manifest, "motion")


def test_lineup_and_result(tiny: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    options = LineupOptions(methods=("per-frame", "lsts"), threads=1)
    lineup = line_up(tiny, options)
    names = [entry.name for entry in lineup.entries]
    assert len(names) == len(set(names)) == 12, "2 engines x (2 per-frame + 2 forms x 2)"
    assert "lsts taps joined, openvino fp32" in names
    result = compare_bundle(
        tiny, None, LineupOptions(engines=(EngineChoice("onnxruntime"),), threads=1), RunSettings(2)
    )
    rows = {row.entry.label: row for row in result.data.rows}
    assert set(APPLICABLE) == {row.entry.method for row in rows.values()}
    assert {name.split(",")[0] for name in result.data.left_out} == set(OF_A_WAY)
    ours = rows["lsts taps, onnxruntime fp32"]
    assert ours.model.ratio_same_engine.against == "per-frame, onnxruntime fp32"
    assert set(ours.graphs["propagated"]) >= {"light", "lsts_current", "head"}
    bound = ours.bound
    heavy, light = bound.heavy_p50_ms, bound.light_p50_ms
    assert bound.schedule == pytest.approx(10 * heavy / (heavy + 9 * light), rel=1e-3)
    assert 0 < bound.outside_light_share < 1
    assert str(tiny.path) not in to_json(result)


def test_a_label_says_what_the_graphs_are(tiny: Bundle, tmp_path: Path) -> None:
    """Of the bundle under comparison as of any other; two in the same precision are told apart by their folder."""
    options = LineupOptions((EngineChoice("onnxruntime"),), ("per-frame", "lsts"), forms=("taps",), joined=False)
    lowered = line_up(Bundle.open(LITE_INT8_BUNDLE), options)
    assert [entry.name for entry in lowered.entries] == ["per-frame, onnxruntime int8", "lsts taps, onnxruntime int8"]
    assert lowered.entries[1].baseline == "per-frame, onnxruntime int8"
    again = Path(shutil.copytree(tiny.path, tmp_path / "again"))
    twice = line_up(tiny, replace(options, also=(again, LITE_INT8_BUNDLE)))
    assert {entry.name: entry.baseline for entry in twice.entries} == {
        "per-frame, onnxruntime fp32": None,
        "lsts taps, onnxruntime fp32": "per-frame, onnxruntime fp32",
        "per-frame, onnxruntime fp32, again": None,
        "lsts taps, onnxruntime fp32, again": "per-frame, onnxruntime fp32, again",
        "per-frame, onnxruntime int8, light path at 0.5": None,
        "lsts taps, onnxruntime int8, light path at 0.5": "per-frame, onnxruntime int8, light path at 0.5",
    }


def test_who_cannot_take_part_is_named(hand_made_bundle: Path) -> None:
    bundle = Bundle.open(hand_made_bundle)
    with pytest.raises(OptionError, match="bundle with LSTS"):
        contestant(bundle, "lsts")
    lineup = line_up(bundle, LineupOptions(engines=(EngineChoice("onnxruntime"),)))
    assert {entry.facts.method for entry in lineup.entries} == {"per-frame", "hold", "flow-boxes"}
    for wrong in ("tensorflow", "openvino:cpu:fp32:more"):
        with pytest.raises(OptionError, match="engine"):
            EngineChoice.parse(wrong)
    with pytest.raises(OptionError, match="methods"):
        LineupOptions(methods=("guess",))
    with pytest.raises(OptionError, match="entries to compare"):
        run_comparison([], Clip(procedural_frames=1), RunSettings(), left_out={})


def test_a_precision_the_processor_lacks_is_no_silent_float32() -> None:
    openvino = pytest.importorskip("openvino")
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("bf16", "fp16"):
        if precision.upper() in able:
            assert open_backend(EngineOptions("openvino", precision=precision)).name == "openvino"
        else:
            with pytest.raises(ProviderUnavailable, match=precision):
                open_backend(EngineOptions("openvino", precision=precision))


def test_command(tiny: Bundle, tmp_path: Path, lsts_edge_command: Callable[..., Any]) -> None:
    output = tmp_path / "compare.json"
    words = ("bench", "compare", tiny.path, "--engine", "onnxruntime", "--method", "lsts", "--method", "per-frame")
    done = lsts_edge_command(*words, "--form", "taps", "--segments", 2, "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("result      4 entries; fastest of ours: lsts taps")
    assert json.loads(output.read_text())["kind"] == "compare"
