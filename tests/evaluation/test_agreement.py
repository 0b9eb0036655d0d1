"""Agreement counted by hand, equal to the slow matching on random boxes, undefined where there is nothing to find."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError, ShapeError
from lsts_edge.evaluation.agreement import AgreementOptions, agreement_difference, measure_agreement
from lsts_edge.evaluation.clip_bootstrap import drawn_counts, drawn_precision
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.evaluation.judging import judge
from lsts_edge.evaluation.metrics import Matches, average_precision, match_image
from lsts_edge.evaluation.new_objects import new_objects

OPTIONS = AgreementOptions(0.4, least_boxes=1, resamples=50)
BOX = [10.0, 10.0, 50.0, 50.0]
FAR = [200.0, 200.0, 260.0, 260.0]
Row = tuple[list[float], float, int]


def frames(*rows: list[Row]) -> FrameBoxes:
    """One list of (box, score, label) a frame."""
    return FrameBoxes.join(
        [
            Boxes(
                np.array([row[0] for row in frame], np.float32).reshape(-1, 4),
                np.array([row[1] for row in frame], np.float32),
                np.array([row[2] for row in frame], np.int64),
            )
            for frame in rows
        ]
    )


def random_boxes(seed: int, count: int, frame_count: int) -> FrameBoxes:
    random = np.random.RandomState(seed)
    low = random.rand(count, 2) * 60
    boxes = np.concatenate((low, low + 5 + random.rand(count, 2) * 60), axis=1)
    frame = np.sort(random.randint(0, frame_count, count))
    scores = np.round(random.rand(count), 1)  # many equal ones
    return FrameBoxes(frame, Boxes(boxes, scores, random.randint(0, 3, count)), frame_count)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iou", [0.3, 0.5])
def test_judging_all_frames_at_once_equals_one_image_at_a_time(seed, iou):
    truth, found = random_boxes(seed, 300, 12), random_boxes(seed + 100, 500, 12)
    judged = judge(truth, found, iou)
    for frame in range(12):
        for label in range(3):
            of_found = np.flatnonzero((found.frame == frame) & (found.boxes.labels == label))
            of_truth = (truth.frame == frame) & (truth.boxes.labels == label)
            slow = match_image(
                found.boxes.xyxy_px[of_found].astype(float), found.boxes.scores[of_found],
                truth.boxes.xyxy_px[of_truth].astype(float), np.zeros(of_truth.sum(), bool), iou,
            )  # fmt: skip
            order = np.argsort(-found.boxes.scores[of_found], kind="stable")
            assert judged.correct[of_found][order].tolist() == slow.correct.tolist()
    taken = judged.taken_by[judged.taken_by >= 0]
    assert sorted(taken) == np.flatnonzero(judged.correct).tolist()


def test_drawn_precision_of_each_clip_once_is_the_average_precision():
    random = np.random.RandomState(0)
    scores, correct, clip = random.rand(900), random.rand(900) < 0.6, random.randint(0, 4, 900)
    positives = np.array([200, 150, 180, 170])
    matches = Matches(scores, correct, np.zeros(900, bool), 700)
    once = drawn_precision(scores, correct, clip, positives, np.ones((1, 4)))
    np.testing.assert_allclose(once, average_precision(matches), atol=1e-9)
    # A clip drawn twice counts as two clips.
    twice = np.array([[2.0, 0, 1, 0]])
    rows = np.concatenate((np.flatnonzero(clip == 0), np.flatnonzero(clip == 0), np.flatnonzero(clip == 2)))
    doubled = Matches(scores[rows], correct[rows], np.zeros(len(rows), bool), 580)
    np.testing.assert_allclose(
        drawn_precision(scores, correct, clip, positives, twice), average_precision(doubled), atol=0.003
    )
    assert np.isnan(drawn_precision(scores, correct, clip, np.zeros(4), np.ones((1, 4)))).all()


def test_many_boxes_in_bins_move_the_figure_by_little():
    random = np.random.RandomState(1)
    scores = random.rand(50_000)
    correct = random.rand(50_000) < scores
    exact = average_precision(Matches(scores, correct, np.zeros(50_000, bool), 30_000))
    clip = random.randint(0, 9, 50_000)
    binned = drawn_precision(scores, correct, clip, np.bincount(clip) * 0.6, np.ones((1, 9)))
    np.testing.assert_allclose(binned, exact, atol=2e-3)


def test_drawings_are_with_replacement_and_repeatable():
    counts = drawn_counts(7, 500, 3)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.max() > 2
    np.testing.assert_array_equal(counts, drawn_counts(7, 500, 3))


def test_the_detector_agrees_with_itself():
    own = random_boxes(3, 400, 40)
    result = measure_agreement(own, own, np.arange(40) // 10, np.arange(40) % 5, OPTIONS)
    assert result.pooled == 1.0
    assert result.class_mean == 1.0
    assert result.pooled_interval == (1.0, 1.0)
    assert set(result.by_distance.values()) == {1.0}
    assert (result.clips, result.frames, result.propagated_frames, result.classes) == (4, 40, 32, 3)


def test_nothing_found_is_undefined_not_perfect():
    own = frames([(BOX, 0.3, 0)], [])
    result = measure_agreement(own, own, np.array([0, 0]), np.array([0, 1]), OPTIONS)
    assert result.true_boxes == 0
    for value in (
        result.pooled, result.pooled_interval, result.class_mean, result.class_mean_interval, result.new_recall,
        result.misplaced_per_frame, result.false_per_frame, *result.by_distance.values(),
    ):  # fmt: skip
        assert value is None
    difference = agreement_difference(own, own, own, np.array([0, 0]), OPTIONS)
    assert difference == {"difference": None, "low": None, "high": None}
    json.dumps(result.to_dict(), allow_nan=False)


def test_pooled_class_mean_and_distance_by_hand():
    # Class 0 is right in both frames, class 1 in the keyframe only: pooled 3 of 4 found, nothing false above them.
    own = frames([(BOX, 0.9, 0), (FAR, 0.8, 1)], [(BOX, 0.9, 0), (FAR, 0.8, 1)])
    way = frames([(BOX, 0.9, 0), (FAR, 0.8, 1)], [(BOX, 0.9, 0), ([0.0, 0.0, 5.0, 5.0], 0.2, 1)])
    result = measure_agreement(own, way, np.array([0, 0]), np.array([0, 1]), OPTIONS)
    assert result.pooled == pytest.approx(76 / 101)
    assert result.class_mean == pytest.approx((1 + 51 / 101) / 2)
    assert result.by_distance == {0: 1.0, 1: pytest.approx(51 / 101)}
    few = AgreementOptions(0.4, least_boxes=3, resamples=0)
    undecided = measure_agreement(own, way, np.array([0, 0]), np.array([0, 1]), few)
    assert (undecided.class_mean, undecided.classes, undecided.pooled_interval) == (None, 0, None)


def test_truth_score_decides_what_has_to_be_found():
    own = frames([(BOX, 0.9, 0), (FAR, 0.45, 0)])
    way = frames([(BOX, 0.9, 0)])
    at = {
        score: measure_agreement(own, way, np.zeros(1, int), np.zeros(1, int), AgreementOptions(score)).pooled
        for score in (0.4, 0.5)
    }
    assert at == {0.4: pytest.approx(51 / 101), 0.5: 1.0}


def test_misplaced_double_and_false_boxes_of_propagated_frames():
    loose = [10.0, 10.0, 50.0, 100.0]  # IoU 0.44 with BOX
    own = frames([(BOX, 0.9, 0)], [(BOX, 0.9, 0)], [(BOX, 0.9, 0)])
    way = frames(
        [(loose, 0.9, 0)],  # a keyframe: not counted
        [(BOX, 0.9, 0), (BOX, 0.5, 0), (loose, 0.4, 0), (loose, 0.2, 0)],  # double, misplaced; the last is not shown
        [(loose, 0.9, 0), (FAR, 0.9, 0), (BOX, 0.9, 1)],  # misplaced; false; false: another class
    )
    result = measure_agreement(own, way, np.zeros(3, int), np.array([0, 1, 2]), OPTIONS)
    assert result.misplaced_per_frame == 3 / 2
    assert result.false_per_frame == 2 / 2


def test_recall_of_new_objects():
    # An object appears two frames after the keyframe; the way finds it one frame late.
    own = frames([(BOX, 0.9, 0)], [(BOX, 0.9, 0)], *[[(BOX, 0.9, 0), (FAR, 0.9, 0)]] * 3)
    way = frames(*[[(BOX, 0.9, 0)]] * 3, *[[(BOX, 0.9, 0), (FAR, 0.9, 0)]] * 2)
    result = measure_agreement(own, way, np.zeros(5, int), np.arange(5), OPTIONS)
    assert (result.new_boxes, result.new_recall) == (3, pytest.approx(2 / 3))
    faint = frames(*[[(BOX, 0.9, 0)]] * 3, *[[(BOX, 0.9, 0), (FAR, 0.2, 0)]] * 2)
    assert measure_agreement(own, faint, np.zeros(5, int), np.arange(5), OPTIONS).new_recall == 0


def test_object_that_was_missed_for_a_frame_or_seen_faintly_is_not_new():
    moved = [[10.0 + 8 * step, 10.0, 50.0 + 8 * step, 50.0] for step in range(5)]
    own = frames(
        [(moved[0], 0.15, 0)], [(moved[1], 0.9, 0)], [], [(moved[2], 0.9, 0)], [(moved[3], 0.9, 0), (moved[3], 0.9, 1)]
    )
    clips, distances = np.zeros(5, int), np.arange(5)
    assert new_objects(own, clips, distances, 0.1).tolist() == [False, False, False, False, True]
    # Without the faint box of the keyframe all of it is new; a keyframe knows everything.
    assert new_objects(own, clips, distances, 0.2).tolist() == [False, True, True, True, True]
    assert not new_objects(own, clips, np.zeros(5, int), 0.1).any()


def test_paired_difference_is_narrower_than_either_interval():
    own = random_boxes(5, 2000, 200)
    random = np.random.RandomState(0)
    first = own.where(random.rand(len(own)) < 0.9)
    second = first.where(random.rand(len(first)) < 0.9)
    clips = np.arange(200) // 10
    options = AgreementOptions(0.4, resamples=300)
    difference = agreement_difference(own, first, second, clips, options)
    alone = measure_agreement(own, first, clips, np.zeros(200, int), options)
    assert difference["low"] < difference["difference"] < difference["high"]
    assert difference["low"] > 0
    assert alone.pooled_interval[0] < alone.pooled < alone.pooled_interval[1]
    assert agreement_difference(own, first, first, clips, options) == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_bad_input_is_refused():
    own = frames([(BOX, 0.9, 0)])
    with pytest.raises(ShapeError):
        measure_agreement(own, frames([], []), np.zeros(1, int), np.zeros(1, int), OPTIONS)
    with pytest.raises(ShapeError):
        measure_agreement(own, own, np.zeros(2, int), np.zeros(1, int), OPTIONS)
    with pytest.raises(ShapeError):
        FrameBoxes(np.array([1]), own.boxes, 1)
    for bad in ({"truth_score": 0.0}, {"truth_score": float("nan")}, {"truth_score": 0.4, "resamples": -1}):
        with pytest.raises(OptionError):
            AgreementOptions(**bad)
