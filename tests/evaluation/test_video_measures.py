"""Distance from the keyframe, first detection, flicker: what happens over time, against tables counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_truth import boxes_of, moving_objects

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.first_detection import measure_first_detections
from lsts_edge.evaluation.flicker import measure_flicker
from lsts_edge.evaluation.keyframe_distance import ap50_by_distance, schedule_distances
from lsts_edge.evaluation.tracks import FoundTrack, found_tracks, true_tracks

HERE, THERE = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 140.0, 140.0)
SHIFTED = (30.0, 10.0, 70.0, 50.0)  # IoU 1/3 with HERE


def follow(truth: AnnotationSet, found: dict[int, Boxes], shown: float = 0.3) -> list[FoundTrack]:
    return found_tracks(truth, true_tracks(truth), found, shown_score=shown)


def test_precision_by_distance_from_the_keyframe():
    truth = moving_objects({1: [HERE] * 5})
    found = {frame: boxes_of((HERE if frame in (1, 2, 3, 4) else SHIFTED, 0.9)) for frame in range(1, 6)}
    distances = schedule_distances(truth, 3)
    assert distances == {1: 0, 2: 1, 3: 2, 4: 0, 5: 1}
    values = ap50_by_distance(truth, found, distances)
    # At distance 1 one of two is found, by the box that comes first among equal scores: recall .5 at precision 1.
    assert values[0] == pytest.approx(1.0) and values[2] == pytest.approx(1.0)
    assert values[1] == pytest.approx(51 / 101)
    assert schedule_distances(truth, 2.5) == {1: 0, 2: 1, 3: 0, 4: 1, 5: 2}
    assert schedule_distances(truth, None) == dict.fromkeys(range(1, 6), 0)
    with pytest.raises(OptionError, match="no distance for 1 of 5"):
        ap50_by_distance(truth, found, dict.fromkeys(range(1, 5), 0))


def test_delay_is_counted_from_the_first_frame_that_shows_the_object():
    truth = moving_objects({1: [HERE] * 6, 2: [None, None, THERE, THERE, THERE, THERE], 3: [None, SHIFTED]})
    found = {
        1: boxes_of((HERE, 0.9)),
        3: boxes_of((THERE, 0.2)),  # not shown
        4: boxes_of((THERE, 0.9, 1)),  # not that class
        5: boxes_of((THERE, 0.9)),
    }
    everyone, later = measure_first_detections(follow(truth, found))
    assert (everyone.objects, everyone.never) == (3, 1)
    assert (later.objects, later.never) == (2, 1), "object 1 is there when the video begins"
    assert everyone.median_frames == 2.0 and later.median_frames == 2.0
    assert everyone.mean_frames == pytest.approx(1.0)
    assert everyone.found_within["0"] == pytest.approx(1 / 3) and everyone.found_within["2"] == pytest.approx(2 / 3)
    assert measure_first_detections(follow(truth, {}))[0].median_frames is None


def test_flicker_counts_changes_of_what_is_found():
    truth = moving_objects({1: [HERE] * 5, 2: [THERE] * 5})
    seen = {1: [True, False, True, True, False], 2: [True] * 5}
    found = {}
    for frame in range(5):
        rows = [(box, 0.9) for key, box in ((1, HERE), (2, THERE)) if seen[key][frame]]
        found[frame + 1] = boxes_of(*rows)
    result = measure_flicker(follow(truth, found))
    assert result.fragment_error == pytest.approx((3 / 4 + 0) / 2)
    assert result.centre_error == 0.0 and result.scale_and_ratio_error == 0.0
    assert (result.objects, result.objects_found) == (2, 2)


def test_trembling_boxes_and_steady_wrong_ones():
    truth = moving_objects({1: [HERE] * 4})
    # 4 px of 40 to the right and to the left in turn: a standard deviation of 0.1 widths.
    moved = {frame + 1: boxes_of(((10 + d, 10, 50 + d, 50), 0.9)) for frame, d in enumerate((4, -4, 4, -4))}
    assert measure_flicker(follow(truth, moved)).centre_error == pytest.approx(0.1)
    # Always 4 px too far right and a little too large: wrong, but it does not tremble.
    steady = {frame + 1: boxes_of(((14, 10, 56, 50), 0.9)) for frame in range(4)}
    result = measure_flicker(follow(truth, steady))
    assert result.centre_error == pytest.approx(0, abs=1e-9)
    assert result.scale_and_ratio_error == pytest.approx(0, abs=1e-9)
    # Half as wide again in every other frame: scale 1 and sqrt(1.5), ratio 1 and 1.5.
    wide = {frame + 1: boxes_of(((10, 10, 70 if frame % 2 else 50, 50), 0.9)) for frame in range(4)}
    expected = np.std([1, 1.5**0.5]) + np.std([1, 1.5])
    assert measure_flicker(follow(truth, wide)).scale_and_ratio_error == pytest.approx(expected)


def test_nothing_found_is_no_flicker():
    result = measure_flicker(follow(moving_objects({1: [HERE] * 3}), {}))
    assert (result.fragment_error, result.centre_error, result.objects_found) == (0.0, None, 0)
