"""Cuts in a running stream: found at the frame where they are, nothing carried across, and no keyframe for a flash."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from blob_detector import CLASSES, SIZE, blob_detector
from shots import flash, pan

from lsts_edge.bundle import Bundle
from lsts_edge.runtime import Detector, Frame
from lsts_edge.runtime.scene_cuts import SceneWatch

FIRST, SECOND = 7, 9  # frames of two shots


def cuts(frames: list[np.ndarray]) -> list[int]:
    watch = SceneWatch()
    return [index for index, frame in enumerate(frames) if watch.arrive(frame)]


@pytest.mark.parametrize("lengths", [(20, 30, 15), (8, 8, 8, 8), (40,), (2, 3, 2, 9)])
@pytest.mark.parametrize("step_px", [0, 2, 7])
def test_a_cut_is_told_at_its_frame(lengths: tuple[int, ...], step_px: int) -> None:
    frames = [frame for seed, length in enumerate(lengths) for frame in pan(seed, length, step_px)]
    assert cuts(frames) == [sum(lengths[:index]) for index in range(1, len(lengths))]


@pytest.mark.parametrize("step_px", [2, 15, 40, 80])
def test_a_camera_that_turns_is_none(step_px: int) -> None:
    assert cuts(pan(0, 30, step_px)) == []


@pytest.mark.parametrize("length", [1, 2, 10])
def test_a_flash_is_none(length: int) -> None:
    frames = pan(0, 30)
    frames[12 : 12 + length] = [flash(frame) for frame in frames[12 : 12 + length]]
    assert cuts(frames) == []


def test_a_lamp_that_goes_out_a_fade_and_an_object_that_jumps_in_are_none() -> None:
    still = pan(0, 12, 0)
    dark = [frame // 3 for frame in still]
    faded = [cv2.convertScaleAbs(still[0], alpha=1 - step / 12) for step in range(13)]
    jumped = [frame.copy() for frame in still]
    for frame in jumped:
        frame[30:90, 60:110] = (0, 0, 255)
    assert cuts(still + dark + still + faded + faded[::-1] + still + jumped) == []


def test_a_picture_between_two_shots_is_a_shot() -> None:
    """Nothing of the first shot is left when it is over, however short; a plain picture shows nothing of either."""
    black, white = (np.full((120, 200, 3), value, np.uint8) for value in (0, 255))
    assert cuts(pan(0, 10) + pan(1, 1) + pan(0, 10)) == [10, 11]
    assert cuts([*pan(0, 10), white, *pan(0, 10)]) == [10, 11]
    assert cuts(pan(0, 10) + [black] * 4 + pan(1, 10)) == [10, 14]
    assert cuts([black] * 6 + [white] * 6) == []


def test_what_came_before_can_be_forgotten() -> None:
    watch = SceneWatch()
    assert not any(watch.arrive(frame) for frame in pan(0, 5))
    watch.reset()
    assert not watch.arrive(pan(1, 1)[0])


@pytest.fixture(scope="module")
def blob_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The detector of red and blue squares, with a smaller input for ``fused``."""
    from lsts_edge.bundle.propagation import PropagationInfo, PropagationWay
    from lsts_edge.publish.wrap.make import make_draft, program_name
    from lsts_edge.publish.wrap.subject import open_subject

    subject = open_subject(blob_detector(tmp_path_factory.mktemp("blob") / "blob.onnx"))
    small = (64, 96)
    ways = {
        "hold": PropagationWay("hold", 20),
        "flow-boxes": PropagationWay("flow-boxes", 20),
        "fused": PropagationWay("fused", 20, {}, program_name(small)),
    }
    graphs = {size: subject.graph(size) for size in (SIZE, small)}
    return make_draft(subject, graphs, SIZE, propagation=PropagationInfo("hold", ways))


def shown(frames: list[np.ndarray]) -> list[np.ndarray]:
    """With a red square for the detector of blobs, and everything else too dark for it."""
    return [cv2.rectangle(frame[:96, :128] // 5, (48, 40), (71, 63), (40, 60, 220), -1) for frame in frames]


def two_shots() -> list[np.ndarray]:
    """The square, then a shot without it, whose palette is another."""
    gray = [cv2.cvtColor(frame[:96, :128], cv2.COLOR_BGR2GRAY) for frame in pan(5, SECOND)]
    return shown(pan(0, FIRST)) + [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in gray]


def kinds(detector: Detector, frames: list[np.ndarray]) -> list[str]:
    return [detector.push(frame).kind for frame in frames]


@pytest.mark.parametrize("way", ["hold", "flow-boxes", "fused"])
def test_no_box_is_carried_across(blob_bundle: Bundle, way: str) -> None:
    with Detector(blob_bundle, propagator=way, keyframe_interval=20) as detector:
        found = [detector.push(frame) for frame in two_shots()]
    assert [one.kind for one in found] == [
        *("first", *["propagated"] * (FIRST - 1)),
        *("first", *["propagated"] * (SECOND - 1)),
    ]
    assert [one.feature_age for one in found] == [*range(FIRST), *range(SECOND)]
    assert [one.reset_reason for one in found if one.reset_reason] == [found[FIRST].reset_reason] == ["scene-cut"]
    assert [set(one.label_names) for one in found[:FIRST]] == [set(CLASSES[:1])] * FIRST
    assert [len(one) for one in found[FIRST:]] == [0] * SECOND
    assert found[FIRST].to_row()["reset"] == "scene-cut"


@pytest.mark.parametrize("way", ["hold", "flow-boxes"])
def test_switched_off_boxes_stay_and_streams_share_that(blob_bundle: Bundle, way: str) -> None:
    with Detector(blob_bundle, propagator=way, keyframe_interval=20, scene_cuts=False) as detector:
        other = detector.share()
        for one in (detector, other):
            found = [one.push(frame) for frame in two_shots()]
            assert [result.kind for result in found[1:]] == ["propagated"] * (FIRST + SECOND - 1)
            assert "scenes" not in found[-1].timings.stages_ms
    assert way != "hold" or len(found[-1]), "the ghost that a cut leaves behind"


def test_a_memory_of_features_is_dropped_too(hand_made_bundle: Path) -> None:
    """Features of another shot lie elsewhere and mean other things; the frame is as good as a video's first."""
    frames = [cv2.resize(frame, (96, 64)) for frame in pan(0, 4) + pan(1, 4)]
    with Detector(hand_made_bundle) as detector:
        found = [detector.push(frame) for frame in frames]
        assert [one.kind for one in found] == ["first", *["propagated"] * 3] * 2
        fresh = [one.scores.tolist() for one in found[4:]]
        detector.start_stream()
        assert [detector.push(frame).scores.tolist() for frame in frames[4:]] == fresh


def test_a_damaged_picture_is_no_cut_and_hides_none(blob_bundle: Bundle) -> None:
    frames = two_shots()
    broken = Frame(np.full_like(frames[0], 200), 3, damaged=True)
    stream = [*map(Frame, frames[:3], range(3)), broken, *map(Frame, frames[FIRST:], range(4, 20))]
    with Detector(blob_bundle, propagator="hold", keyframe_interval=20) as detector:
        found = [detector._push(frame) for frame in stream]
    assert [one.kind for one in found[:5]] == ["first", *["propagated"] * 3, "first"]
    assert found[4].reset_reason == "decode-error"
    assert [len(one) for one in found[4:]] == [0] * SECOND


def test_a_video_that_begins_is_none(blob_bundle: Bundle) -> None:
    frames = two_shots()
    with Detector(blob_bundle, propagator="hold") as detector:
        kinds(detector, frames[:FIRST])
        detector.reset("new-video")
        assert detector.push(frames[-1]).reset_reason == "new-video"
        assert detector.push(frames[-1]).kind == "propagated"
