"""One stream's detector: kinds, ages, and a memory that is dropped with a reason."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hand_made import black_gives_nan_bundle
from lsts_edge.bundle import Bundle
from lsts_edge.errors import BundleError, OptionError, ShapeError, StateConcurrent
from lsts_edge.runtime import Detections, Detector, EngineOptions
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip


@pytest.fixture
def detector(hand_made_bundle: Path) -> Detector:
    return Detector(hand_made_bundle, EngineOptions(threads=1), keyframe_interval=4)


def flat(value: int, height_px: int = 64, width_px: int = 96) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, np.uint8)


def same(left: Detections, right: Detections) -> bool:
    return left.boxes_xyxy_px.tobytes() == right.boxes_xyxy_px.tobytes() and left.label_names == right.label_names


def test_kinds_and_ages_follow_the_interval(detector: Detector) -> None:
    results = [detector.push(flat(10 * index), index / 25) for index in range(10)]
    assert [r.kind for r in results] == ["first"] + ["propagated"] * 3 + ["keyframe"] + ["propagated"] * 3 + [
        "keyframe",
        "propagated",
    ]
    assert [r.feature_age for r in results] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert [r.frame for r in results] == list(range(10))
    assert all(r.reset_reason is None for r in results)


def test_a_row_has_the_fields_that_were_promised(detector: Detector) -> None:
    row = detector.push(flat(100), 0.04).to_row()
    assert list(row) == ["frame", "time_s", "kind", "feature_age", "detections"]
    assert row["detections"] == [{"label": "person", "score": 0.75, "box_xyxy_px": [9.0, 9.0, 42.0, 42.0]}]
    detector.push(flat(100), 0.08)
    detector.reset("somebody asked")
    assert detector.push(flat(100), 0.12).to_row()["reset"] == "somebody asked"


def test_the_threshold_leaves_boxes_out(hand_made_bundle: Path) -> None:
    assert len(Detector(hand_made_bundle, score_threshold=0.75).push(flat(1))) == 1
    assert len(Detector(hand_made_bundle, score_threshold=0.76).push(flat(1))) == 0


def test_a_new_video_starts_afresh(detector: Detector) -> None:
    clip = small_clip(6, 64, 96)
    alone = [result for _, result in detector.run(ArraySource(clip))]
    again = [result for _, result in detector.run(ArraySource(clip))]
    assert [r.reset_reason for r in alone] == [None] * 6
    assert [r.reset_reason for r in again] == ["new-video"] + [None] * 5
    assert [r.frame for r in again] == list(range(6))
    assert all(same(a, b) for a, b in zip(alone, again, strict=True))


def test_a_change_of_size_is_one_reset_and_equals_a_fresh_run(detector: Detector, hand_made_bundle: Path) -> None:
    for index in range(3):
        detector.push(flat(200), index / 25)
    changed = [detector.push(flat(50, 48, 64), index / 25) for index in range(3, 6)]
    fresh = Detector(hand_made_bundle, keyframe_interval=4)
    expected = [fresh.push(flat(50, 48, 64)) for _ in range(3)]
    assert [r.reset_reason for r in changed] == ["size-change", None, None]
    assert changed[0].kind == "first"
    assert all(same(a, b) for a, b in zip(changed, expected, strict=True))


@pytest.mark.parametrize(
    ("times_s", "resets"),
    [
        ([0, 0.04, 0.08, 2.0, 2.04], []),  # a pause below 2 s
        ([0, 0.04, 0.08, 2.2, 2.24], [3]),
        ([0, 1, 2, 3, 7.9, 8.9], []),  # a slow camera: 5 of its intervals
        ([0, 1, 2, 3, 8.1, 9.1], [4]),
        ([5, 5.04, 5.0, 5.04], [2]),  # time runs backwards
        ([0, 0.04, 0.04, 0.04, 0.08], []),  # the same stamp twice
        ([None, 0.0, None, 100.0, 100.04], []),  # unknown times say nothing
        ([0, 10, 20, 30, 40], [1]),  # time lapse: known after its first step
    ],
)
def test_time_gaps(detector: Detector, times_s: list[float | None], resets: list[int]) -> None:
    results = [detector.push(flat(10), time_s) for time_s in times_s]
    assert [r.frame for r in results if r.reset_reason == "time-gap"] == resets
    assert [r.frame for r in results if r.kind == "first"] == [0, *resets]


def test_a_damaged_frame_never_enters_the_memory(detector: Detector, hand_made_bundle: Path) -> None:
    results = [detector.push(flat(40), 0.0)]
    results += [detector.push(flat(250), 0.04, damaged=True) for _ in range(6)]  # over the next keyframe's turn
    assert [r.kind for r in results[1:]] == ["propagated"] * 6
    assert detector.pipeline.state["task"].tolist() == [[40, 40, 40]]
    good = [detector.push(flat(90), 0.08), detector.push(flat(90), 0.12)]
    assert (good[0].kind, good[0].reset_reason) == ("first", "decode-error")
    assert good[1].reset_reason is None
    assert same(good[0], Detector(hand_made_bundle).push(flat(90)))


def test_a_stream_that_begins_damaged_starts_at_its_first_good_frame(detector: Detector) -> None:
    results = [detector.push(flat(9), damaged=damaged) for damaged in (True, True, False, False)]
    assert [r.kind for r in results] == ["first", "first", "first", "propagated"]
    assert [r.reset_reason for r in results] == [None, None, "decode-error", None]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [1, 3, 4, 9])
def test_a_poisoned_memory_is_noticed_once_and_gone_at_once(detector: Detector, poison: float, at: int) -> None:
    resets = []
    for index in range(12):
        if index == at:
            detector.pipeline.state["task"][0, 1] = poison
        result = detector.push(flat(60), index / 25)
        resets.append(result.reset_reason)
        assert np.isfinite(result.boxes_xyxy_px).all()
        assert np.isfinite(detector.pipeline.state["task"]).all()
    expected = [None] * 12
    if at not in (4,):  # a keyframe writes this bundle's memory anew without reading it
        expected[at] = "non-finite"
    assert [reason for reason in resets if reason] == [reason for reason in expected if reason]


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_frame_without_a_finite_feature_is_one_event(tmp_path: Path, at: int) -> None:
    detector = Detector(black_gives_nan_bundle(tmp_path / "bundle"), keyframe_interval=4)
    results = []
    for index in range(10):
        results.append(detector.push(flat(0 if index == at else 50), index / 25))
        if index != at:
            assert np.isfinite(detector.pipeline.state["task"]).all()
    assert [r.frame for r in results if r.reset_reason == "non-finite"] == [at]
    assert len(results[at]) == 0
    assert results[at + 1].kind == "first"
    assert all(len(r) == 1 for r in results if r.frame != at)


def test_a_refused_frame_leaves_the_stream_as_it_was(detector: Detector, hand_made_bundle: Path) -> None:
    twin = Detector(hand_made_bundle, keyframe_interval=4)
    for index in range(6):
        if index == 3:
            with pytest.raises(ShapeError):
                detector.push(np.zeros((5, 5), np.uint8))
        left, right = detector.push(flat(20 * index)), twin.push(flat(20 * index))
        assert same(left, right)
        assert (left.frame, left.kind) == (right.frame, right.kind)


class _Slow(Scheduler):
    """A scheduler that waits inside a push until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Event(), threading.Event()

    def decide(self, info: FrameInfo) -> Decision:
        self.inside.set()
        assert self.go.wait(60)
        return Decision(False, "late")

    def for_stream(self) -> _Slow:
        return self


def test_two_threads_on_one_detector_are_refused(hand_made_bundle: Path) -> None:
    slow = _Slow()
    detector = Detector(hand_made_bundle, scheduler=slow)
    detector.push(flat(1))
    results: list[Detections] = []
    thread = threading.Thread(target=lambda: results.append(detector.push(flat(2))))
    thread.start()
    assert slow.inside.wait(60)
    with pytest.raises(StateConcurrent, match="share"):
        detector.push(flat(3))
    with pytest.raises(StateConcurrent, match="reset"):
        detector.reset()
    slow.go.set()
    thread.join(60)
    assert [r.frame for r in results] == [1]
    assert detector.push(flat(3)).frame == 2


def test_shared_detectors_on_threads_equal_serial_runs(hand_made_bundle: Path) -> None:
    first = Detector(hand_made_bundle, EngineOptions(threads=1), keyframe_interval=4)
    clips = [small_clip(40, 64, 96, seed=seed) for seed in range(4)]
    serial = [[r for _, r in Detector(hand_made_bundle, keyframe_interval=4).run(ArraySource(clip))] for clip in clips]
    found: list[list[Detections]] = [[] for _ in clips]

    def work(number: int) -> None:
        found[number].extend(r for _, r in first.share().run(ArraySource(clips[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for left, right in zip(serial, found, strict=True):
        assert len(left) == len(right) == 40
        assert all(same(a, b) for a, b in zip(left, right, strict=True))


def test_engines_agree_on_a_clip(hand_made_bundle: Path) -> None:
    clip = small_clip(12, 90, 120)
    left = [r for _, r in Detector(hand_made_bundle).run(ArraySource(clip))]
    right = [r for _, r in Detector(hand_made_bundle, EngineOptions("openvino")).run(ArraySource(clip))]
    for a, b in zip(left, right, strict=True):
        assert a.kind == b.kind
        np.testing.assert_allclose(a.boxes_xyxy_px, b.boxes_xyxy_px, rtol=1e-5)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_an_absurd_threshold_is_refused(hand_made_bundle: Path, threshold: float) -> None:
    with pytest.raises(OptionError, match="score threshold"):
        Detector(hand_made_bundle, score_threshold=threshold)


def test_interval_and_scheduler_together_are_refused(hand_made_bundle: Path) -> None:
    with pytest.raises(OptionError, match="scheduler"):
        Detector(hand_made_bundle, keyframe_interval=3, scheduler=_Slow())


def test_a_digest_for_a_bundle_that_is_open_is_refused(hand_made_bundle: Path) -> None:
    with pytest.raises(OptionError, match="expected digest"):
        Detector(Bundle.open(hand_made_bundle), expect_digest="0" * 64)
    with pytest.raises(BundleError):
        Detector(hand_made_bundle, expect_digest="0" * 64)


def test_results_are_values(detector: Detector) -> None:
    result = detector.push(flat(10))
    kept = result.boxes_xyxy_px.copy()
    detector.push(flat(240))
    np.testing.assert_array_equal(result.boxes_xyxy_px, kept)
    assert replace(result, frame=7).frame == 7


def test_two_runs_that_interleave_are_refused(hand_made_bundle: Path) -> None:
    one, other = small_clip(4), small_clip(4, seed=1)
    with Detector(hand_made_bundle) as detector:
        alone = [found.to_row() for _, found in Detector(hand_made_bundle).run(ArraySource(other))]
        first, second = detector.run(ArraySource(one)), detector.run(ArraySource(other))
        next(first)
        got = [next(second)[1].to_row()]
        with pytest.raises(StateConcurrent, match="share"):
            next(first)
        got += [found.to_row() for _, found in second]
        got[0].pop("reset")
        assert got == alone, "the later run goes on, untouched by the one that was refused"


@pytest.mark.parametrize("between", ["push", "start_stream"])
def test_a_run_that_something_else_came_between_is_refused(hand_made_bundle: Path, between: str) -> None:
    clip = small_clip(4)
    with Detector(hand_made_bundle) as detector:
        run = detector.run(ArraySource(clip))
        next(run)
        detector.push(clip[0]) if between == "push" else detector.start_stream()
        with pytest.raises(StateConcurrent):
            next(run)


def test_a_run_that_was_left_does_not_stand_in_the_way(hand_made_bundle: Path) -> None:
    clip = small_clip(4)
    with Detector(hand_made_bundle) as detector:
        left = detector.run(ArraySource(clip))
        next(left)
        detector.reset()
        next(left)
        assert len(list(detector.run(ArraySource(clip)))) == 4
