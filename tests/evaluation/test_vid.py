"""ImageNet VID's average precision and FGFA's ranges of motion, against tables counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_truth import boxes_of, moving_objects

from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.motion import motion_ious
from lsts_edge.evaluation.vid import all_point_precision, measure_vid, small_object_iou

FAR = (150.0, 150.0, 190.0, 190.0)


def test_small_objects_are_found_from_less_overlap_on():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 40], [0, 0, 40, 40]], np.float32)
    # 100 / 400, 400 / 1000, 1600 / 2500 but never above a half.
    np.testing.assert_allclose(small_object_iou(boxes), [0.25, 0.4, 0.5])
    truth = moving_objects({1: [(0, 0, 10, 10)], 2: [(50, 50, 90, 90)]})
    third_of_each = {1: boxes_of(((0, 0, 10, 3), 0.9), ((50, 50, 90, 62), 0.8))}  # IoU 0.3
    # The small one is found, first; the large one is not: precision 1 up to recall 0.5, nothing after.
    assert measure_vid(truth, third_of_each).mean_ap == pytest.approx(0.5)


def test_the_area_under_all_points():
    scores, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    wrong = (~right).astype(float)
    # Recall 0.5 at precision 1, recall 1 at precision 2/3.
    assert all_point_precision(scores, right, wrong, 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert all_point_precision(scores, right, wrong * 0.5, 2) == pytest.approx(0.5 + 0.5 * 2 / 2.5)
    assert all_point_precision(scores, right, wrong, 0) is None
    assert all_point_precision(np.zeros(0), np.zeros(0, bool), np.zeros(0), 3) == 0.0


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    truth = moving_objects({1: [(50, 50, 90, 90)]})
    found = measure_vid(truth, {1: boxes_of(((50, 50, 90, 90), 0.9), (FAR, 0.8, 1))})
    assert found.ap_per_class == {"car": pytest.approx(1.0), "bird": None}
    assert found.mean_ap == pytest.approx(1.0)
    wrong_class = measure_vid(truth, {1: boxes_of(((50, 50, 90, 90), 0.9, 1))})
    assert wrong_class.mean_ap == 0.0


def test_an_ignore_box_drops_what_lies_on_it():
    truth = moving_objects({1: [(50, 50, 90, 90)], 2: [FAR]})
    record = truth.images[0]
    truth = dataclasses.replace(truth, images=(dataclasses.replace(record, ignore=np.array([False, True])),))
    found = {1: boxes_of((FAR, 0.9), ((50, 50, 90, 90), 0.8))}
    assert measure_vid(truth, found).mean_ap == pytest.approx(1.0), "the better box is no false one"


def test_motion_is_the_mean_overlap_with_the_frames_around():
    # 40 wide, 10 px to the right each frame: IoU 30/50 one frame away, 20/60 two, 10/70 three.
    truth = moving_objects({1: [(10.0 * t, 0, 10.0 * t + 40, 40) for t in range(4)]})
    values = [float(row[0]) for row in motion_ious(truth)]
    one, two, three = 0.6, 1 / 3, 1 / 7
    expected = [(one + two + three) / 3, (2 * one + two) / 3, (2 * one + two) / 3, (one + two + three) / 3]
    np.testing.assert_allclose(values, expected)


def test_motion_looks_ten_frames_far_and_no_further():
    still, away = (0.0, 0.0, 40.0, 40.0), (100.0, 0.0, 140.0, 40.0)
    truth = moving_objects({1: [still] * 11 + [away]})
    assert motion_ious(truth)[0][0] == pytest.approx(1.0), "frame 11 is eleven frames away"
    assert motion_ious(truth)[1][0] == pytest.approx(0.9 + 0.1 / 11, abs=0.02)
    assert motion_ious(moving_objects({1: [still]}))[0][0] == 1.0, "seen once"


def test_each_range_of_motion_has_its_own_objects_and_its_own_errors():
    fast = [(20.0 * t, 0.0, 20.0 * t + 40, 40.0) for t in range(3)]
    truth = moving_objects({1: [FAR] * 3, 2: fast})
    # The still one is always found; the fast one never, and a loose box lies beside it each time.
    found = {t + 1: boxes_of((FAR, 0.5), ((fast[t][0], 0, fast[t][2], 15), 0.9)) for t in range(3)}
    result = measure_vid(truth, found)
    assert result.boxes_by_motion == {"slow": 3, "medium": 0, "fast": 3}
    assert result.mean_ap_by_motion == {"slow": pytest.approx(1.0), "medium": None, "fast": 0.0}
    assert result.mean_ap == pytest.approx(0.25), "recall 1/2 at precision 3/6"


def test_a_box_that_touches_nothing_counts_by_share():
    fast = [(20.0 * t, 0.0, 20.0 * t + 40, 40.0) for t in range(3)]
    truth = moving_objects({1: [FAR] * 3, 2: fast})
    nowhere = (0.0, 120.0, 30.0, 150.0)
    found = {t + 1: boxes_of((FAR, 0.5), (nowhere, 0.9)) for t in range(3)}
    result = measure_vid(truth, found)
    # Three wrong boxes count as half a box each, for one of the two objects of each image is outside the range.
    assert result.mean_ap_by_motion["slow"] == pytest.approx(3 / 4.5)


def test_without_instances_there_is_no_motion():
    truth = moving_objects({-1: [FAR]})
    assert measure_vid(truth, {1: boxes_of((FAR, 0.5))}).mean_ap_by_motion is None
    with pytest.raises(AnnotationError, match="instance_id"):
        motion_ious(truth)
