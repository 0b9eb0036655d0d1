"""Every way to fill the frames between keyframes: kinds, ages, guard, damage and sharing are alike for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hand_made import field, hand_made_files, hand_made_manifest, heavy_model, model, node, tensor, value_info
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import GraphInfo, Step, TensorInfo
from lsts_edge.bundle.propagation import PropagationInfo, PropagationWay
from lsts_edge.errors import OptionError, StateError
from lsts_edge.runtime import Detections, Detector, EngineOptions
from lsts_edge.runtime.propagators.interface import PropagatedBoxes
from lsts_edge.runtime.runners.open import choose_way, open_runner
from moving_object import texture

MOVING = ("hold", "flow-boxes", "fused")
EVERY = (*MOVING, "features")


def flat(value: int, height_px: int = 64, width_px: int = 96) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, np.uint8)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The hand-made bundle, and the same network on 32 x 48 pixels as a program of its own."""
    manifest = hand_made_manifest()
    small = dataclasses.replace(
        manifest.graphs["heavy"],
        inputs=(TensorInfo("image", "uint8", (1, 32, 48, 3)),),
        forms={"default": "small.onnx"},
    )
    head = manifest.programs["first"][-1]
    half = GraphInfo(
        (TensorInfo("boxes", "float32", (1, 4)),),
        (TensorInfo("half", "float32", (1, 4)),),
        {"default": "half.onnx"},
        1,
        4,
    )
    steps = (
        Step("small", {"image": "image"}, {"feature": "task"}),
        dataclasses.replace(head, outputs={"boxes": "large", "scores": "scores", "labels": "labels"}),
        Step("half", {"boxes": "large"}, {"half": "boxes"}),
    )
    ways = {
        "features": PropagationWay("features", 4),
        "hold": PropagationWay("hold", 4, {"score_decay": 0.9}),
        "flow-boxes": PropagationWay("flow-boxes", 4, {"most_error": 1.0}),
        "fused": PropagationWay("fused", 4, {"most_error": 1.0}, "small"),
        "small": PropagationWay("smaller-input", 4, program="small"),
    }
    manifest = dataclasses.replace(
        manifest,
        graphs={**manifest.graphs, "small": small, "half": half},
        extra_programs={"small": steps},
        propagation=PropagationInfo("hold", ways),
    )
    files = {**hand_made_files(), "small.onnx": heavy_model(32, 48), "half.onnx": half_model()}
    return write_bundle(tmp_path / "ways", manifest, files)


def half_model() -> bytes:
    """Boxes of the small image: the large one's, halved."""
    graph = (
        field(1, node("Mul", ["boxes", "factor"], ["half"]))
        + field(2, "half")
        + field(5, tensor("factor", np.full((), 0.5, np.float32)))
        + field(11, value_info("boxes", 1, (1, 4)))
        + field(12, value_info("half", 1, (1, 4)))
    )
    return model(graph)


def detector(bundle: Bundle, way: str, **options: object) -> Detector:
    return Detector(bundle, EngineOptions(threads=1), propagator=way, **options)  # type: ignore[arg-type]


def run(detector: Detector, values: Sequence[int] = range(40, 150, 10)) -> list[Detections]:
    return [detector.push(flat(value), index / 25) for index, value in enumerate(values)]


@pytest.mark.parametrize("way", EVERY)
def test_kinds_and_ages_are_alike(bundle: Bundle, way: str) -> None:
    found = run(detector(bundle, way))
    assert [one.kind for one in found[:6]] == ["first", *["propagated"] * 3, "keyframe", "propagated"]
    assert [one.feature_age for one in found[:6]] == [0, 1, 2, 3, 0, 1]
    assert all(len(one) == 1 for one in found)
    assert all(one.timings.total_ms > 0 and one.reset_reason is None for one in found)


def test_motion_asks_for_keyframes_and_an_interval_given_does_not(bundle: Bundle) -> None:
    """The hand-made network finds one box wherever the picture is; a textured picture moves under it, then stands."""
    way = PropagationWay("flow-boxes", 5, {"most_motion": 0.12, "most_error": 1.0})
    wide = np.repeat(texture(1, 64, 260)[..., None], 3, axis=2)
    offsets = [3 * step for step in range(9)] + [24] * 8
    with Detector(bundle, EngineOptions(threads=1), propagator=way) as opened:
        found = [opened.push(wide[:, at : at + 96]) for at in offsets]
        again = [one.kind for one in (opened.reset(), *map(opened.push, [wide[:, :96]] * 6)) if one is not None]
    kinds = ["-" if one.kind == "propagated" else one.why for one in found]
    gaps = np.diff([index for index, kind in enumerate(kinds) if kind != "-"])
    assert "motion" in kinds[:9] and gaps.min() < 5
    assert kinds[12:].count("interval") == 1 and "motion" not in kinds[12:] and gaps.max() == 5
    assert again == ["first", *["propagated"] * 4, "keyframe"]
    with Detector(bundle, EngineOptions(threads=1), propagator=way, keyframe_interval=4) as opened:
        kinds = [opened.push(wide[:, at : at + 96]).kind for at in offsets]
    assert [index for index, kind in enumerate(kinds) if kind != "propagated"] == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("way", ["hold", "flow-boxes"])
def test_a_box_says_whether_it_was_moved(bundle: Bundle, way: str) -> None:
    found = run(detector(bundle, way))
    for one in found:
        assert one.moved.tolist() == [one.kind == "propagated"]
        assert ("moved" in one.to_row()["detections"][0]) == (one.kind == "propagated")
    assert found[0].boxes_xyxy_px.tolist() == found[3].boxes_xyxy_px.tolist() != found[4].boxes_xyxy_px.tolist()
    assert set(found[1].timings.graphs_ms) == set(), "no network runs on frames between"
    assert set(found[4].timings.graphs_ms) == {"heavy", "head"}
    assert "propagate" in found[1].timings.stages_ms


def test_keyframes_have_the_boxes_of_the_network_alone(bundle: Bundle) -> None:
    alone = run(detector(bundle, "every-frame"))
    assert [one.kind for one in alone] == ["first"] + ["keyframe"] * 10
    for way in MOVING:
        for mine, theirs in zip(run(detector(bundle, way)), alone, strict=True):
            if mine.kind != "propagated":
                assert mine.boxes == theirs.boxes


def test_the_default_way_is_the_bundles_with_its_parameters(bundle: Bundle) -> None:
    found = [Detector(bundle).push(flat(40)) for _ in range(2)]
    assert found[1].kind == "first"
    scores = [one.scores[0] for one in run(Detector(bundle))]
    np.testing.assert_allclose(scores[:5], [0.75, 0.75 * 0.9, 0.75 * 0.81, 0.75 * 0.729, 0.75], rtol=1e-6)


def test_the_smaller_input_runs_on_every_frame(bundle: Bundle) -> None:
    alone, small = run(detector(bundle, "every-frame")), run(detector(bundle, "small"))
    assert [one.kind for one in small] == ["first"] + ["keyframe"] * 10
    assert set(small[3].timings.graphs_ms) == {"small", "head", "half"}
    for mine, theirs in zip(small, alone, strict=True):
        # corners are inclusive: the pixel that edges add is one of the small image, two of the frame
        np.testing.assert_allclose(mine.boxes_xyxy_px, theirs.boxes_xyxy_px + np.array([0, 0, 1, 1]), atol=1e-3)
        assert not mine.moved.any()


def test_fused_runs_the_smaller_input_between_keyframes(bundle: Bundle) -> None:
    found = run(detector(bundle, "fused"))
    assert set(found[1].timings.graphs_ms) == {"small", "head", "half"}
    assert set(found[4].timings.graphs_ms) == {"heavy", "head"}
    assert found[1].moved.tolist() == [False], "seen by the smaller input too"
    assert found[1].boxes_xyxy_px.tolist() != found[0].boxes_xyxy_px.tolist()


@pytest.mark.parametrize("way", EVERY)
def test_a_damaged_frame_moves_nothing(bundle: Bundle, way: str) -> None:
    """Between good frames, a damaged one: what comes after is a fresh start, whatever the damaged one showed."""
    one = detector(bundle, way)
    results = [one.push(flat(40), 0.0)]
    results += [one.push(flat(250), 0.04, damaged=True) for _ in range(5)]
    results.append(one.push(flat(90), 0.08))
    assert [found.kind for found in results] == ["first", *["propagated"] * 5, "first"]
    assert results[-1].reset_reason == "decode-error"
    assert results[-1].boxes == detector(bundle, way).push(flat(90)).boxes
    if way in MOVING:
        assert all(found.boxes_xyxy_px.tolist() == results[0].boxes_xyxy_px.tolist() for found in results[1:6])
        assert all(found.moved.all() for found in results[1:6])


@pytest.mark.parametrize("way", EVERY)
def test_a_new_size_and_a_gap_start_afresh(bundle: Bundle, way: str) -> None:
    one = detector(bundle, way)
    for index in range(2):
        one.push(flat(200), index / 25)
    changed = [one.push(flat(50, 48, 64), index / 25) for index in range(2, 4)]
    assert [found.reset_reason for found in changed] == ["size-change", None]
    assert one.push(flat(60, 48, 64), 99.0).reset_reason == "time-gap"
    fresh = detector(bundle, way)
    assert changed[0].boxes == fresh.push(flat(50, 48, 64)).boxes


@pytest.mark.parametrize("way", EVERY)
def test_shared_detectors_equal_their_own(bundle: Bundle, way: str) -> None:
    clips = (range(40, 150, 10), range(200, 90, -10))
    alone = [[found.boxes for found in run(detector(bundle, way), clip)] for clip in clips]
    first = detector(bundle, way)
    pair = (first, first.share())
    found: list[list[object]] = [[], []]
    for values in zip(*clips, strict=True):
        for number, value in enumerate(values):
            found[number].append(pair[number].push(flat(value)).boxes)
    assert found == alone


@pytest.mark.parametrize("way", MOVING)
def test_a_box_that_is_not_finite_is_one_event(bundle: Bundle, way: str) -> None:
    one = detector(bundle, way)
    one.push(flat(40))
    state = one._executor.runner._propagator  # type: ignore[attr-defined]
    original = state.propagate

    def poison(*arguments: object) -> PropagatedBoxes:
        boxes = original(*arguments)
        lost = dataclasses.replace(boxes.boxes, xyxy_px=boxes.boxes.xyxy_px * np.float32(np.nan))
        return dataclasses.replace(boxes, boxes=lost)

    state.propagate = poison
    found = one.push(flat(50))
    state.propagate = original
    assert (found.kind, found.reset_reason) == ("first", "non-finite")
    assert found.boxes == detector(bundle, "every-frame").push(flat(50)).boxes
    assert one.push(flat(60)).kind == "propagated"


@pytest.mark.parametrize("way", EVERY)
def test_propagation_needs_a_keyframe(bundle: Bundle, way: str) -> None:
    runner = open_runner(bundle, EngineOptions(threads=1), way)
    with pytest.raises(StateError):
        runner.step(flat(1), "propagated")
    runner.step(flat(1), "first")
    runner.step(flat(1), "propagated")
    runner.reset()
    with pytest.raises(StateError):
        runner.step(flat(1), "propagated")


def test_letterboxed_frames_keep_their_place(bundle: Bundle) -> None:
    """A frame of another shape is padded; moved boxes lie in the frame where the detected ones do."""
    for way in MOVING:
        one = detector(bundle, way)
        first, second = (one.push(flat(90, 64, 64)) for _ in range(2))
        np.testing.assert_allclose(first.boxes_xyxy_px, second.boxes_xyxy_px, atol=1.5)


def test_ways_by_name(bundle: Bundle, hand_made_bundle: Path) -> None:
    assert choose_way(bundle.manifest, None).kind == "hold"
    assert choose_way(bundle.manifest, "small").kind == "smaller-input"
    assert choose_way(bundle.manifest, "every-frame").keyframe_interval == 1
    mine = PropagationWay("flow-boxes", 7, {"flow": "lk"})
    assert choose_way(bundle.manifest, mine) is mine
    plain = Bundle.open(hand_made_bundle).manifest
    assert choose_way(plain, "flow-boxes").keyframe_interval == plain.keyframe_interval
    for unknown in ("fused", "magic"):
        with pytest.raises(OptionError, match="hold, flow-boxes, every-frame"):
            choose_way(plain, unknown)
    with pytest.raises(OptionError, match="parameters of propagator hold"):
        Detector(bundle, propagator=PropagationWay("hold", 3, {"magic": 1}))
    with pytest.raises(OptionError, match="program of smaller-input"):
        Detector(hand_made_bundle, propagator=PropagationWay("smaller-input", 3, program="none"))


@pytest.mark.parametrize("way", ["hold", "flow-boxes", "every-frame"])
def test_our_own_network_runs_every_simple_way(tiny_bundle: Path, way: str) -> None:
    """The detector is the program of first frames, without what only later frames read."""
    one = Detector(tiny_bundle, EngineOptions(threads=1), propagator=way, keyframe_interval=3, score_threshold=0.05)
    pictures = [np.random.RandomState(index).randint(0, 255, (64, 96, 3)).astype(np.uint8) for index in range(7)]
    found = [one.push(picture) for picture in pictures]
    features = Detector(tiny_bundle, EngineOptions(threads=1, joined=False), score_threshold=0.05).push(pictures[0])
    assert found[0].boxes == features.boxes
    assert set(found[0].timings.graphs_ms) == {"heavy", "head"}
    assert {one.kind for one in found} == ({"first", "keyframe"} if way == "every-frame" else set(KINDS))


KINDS = ("first", "keyframe", "propagated")
