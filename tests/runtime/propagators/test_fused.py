"""Moved and detected boxes as one set, counted by hand; and a stream in which the smaller input corrects a drift."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import StateError
from lsts_edge.runtime.propagators import make_propagator
from lsts_edge.runtime.propagators.fused import FusedOptions, fuse_boxes
from moving_object import moving_object, texture

OPTIONS = FusedOptions(detected_weight=0.5, unseen_decay=0.5)


def detected(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Boxes:
    return Boxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels, np.int64))


def moved(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Boxes:
    return detected(boxes, scores, labels)


def test_box_seen_by_both_goes_to_the_weighted_mean_and_keeps_its_score():
    fused = fuse_boxes(moved([[0, 0, 40, 40]], [0.4], [1]), detected([[8, 0, 48, 40]], [0.8], [1]), OPTIONS)
    # Weights 0.4 and 0.8 * 0.5: half way.
    np.testing.assert_allclose(fused.boxes.xyxy_px, [[4, 0, 44, 40]], atol=1e-5)
    np.testing.assert_allclose(fused.boxes.scores, [0.4])
    assert fused.moved.tolist() == [False]


def test_unseen_box_decays_new_box_joins_other_class_is_another_object():
    fused = fuse_boxes(
        moved([[0, 0, 40, 40]], [0.6], [1]),
        detected([[0, 0, 40, 40], [100, 100, 140, 140]], [0.8, 0.6], [2, 1]),
        OPTIONS,
    )
    np.testing.assert_allclose(fused.boxes.scores, [0.3, 0.4, 0.3], rtol=1e-6)
    assert fused.boxes.labels.tolist() == [1, 2, 1]
    assert fused.moved.tolist() == [True, False, False]


def test_loose_second_box_of_an_object_is_no_new_object():
    fused = fuse_boxes(
        moved([[0, 0, 40, 40]], [0.9], [1]),
        detected([[1, 0, 41, 40], [0, 0, 40, 80]], [0.9, 0.8], [1, 1]),
        OPTIONS,
    )
    assert len(fused) == 1


@pytest.mark.parametrize("count", [(0, 0), (0, 2), (2, 0)])
def test_nothing_on_one_side(count):
    rows = [[0, 0, 40, 40], [100, 100, 140, 140]]
    first, second = count
    fused = fuse_boxes(
        moved(rows[:first], [0.9, 0.8][:first], [0, 0][:first]),
        detected(rows[:second], [0.9, 0.8][:second], [0, 0][:second]),
        OPTIONS,
    )
    assert len(fused) == first + second
    assert fused.boxes.xyxy_px.shape == (first + second, 4)


def test_correction_and_new_object_last():
    propagator = make_propagator("fused")
    picture, box = moving_object((80, 90), (60, 48))
    loose = box + np.array([12, 0, 12, 0], np.float32)  # a keyframe that was 12 pixels off
    propagator.keyframe(picture, detected([loose.tolist()], [0.9], [0]))
    for step in range(1, 6):
        picture, box = moving_object((80 + 4 * step, 90), (60, 48))
        rows = [box.tolist()] + ([[200, 120, 240, 160]] if step == 1 else [])
        found = propagator.propagate(picture, detected(rows, [0.8] * len(rows), [0] + [5] * (len(rows) - 1)))
    assert found.boxes.labels.tolist() == [0, 5]
    assert abs(found.boxes.xyxy_px[0, 0] - box[0]) < 3
    np.testing.assert_allclose(found.boxes.xyxy_px[1], [200, 120, 240, 160], atol=1)
    assert found.moved.tolist() == [False, True]


@pytest.mark.parametrize("name", ["fused", "smaller-input"])
def test_forgotten_boxes_of_the_smaller_input_are_an_error_that_loses_nothing(name):
    propagator = make_propagator(name)
    none = detected([], [], [])
    propagator.keyframe(texture(1), detected([[40, 40, 90, 90]], [0.9], [0]))
    with pytest.raises(StateError, match="smaller"):
        propagator.propagate(texture(1))
    assert len(propagator.propagate(texture(1), none)) == (1 if name == "fused" else 0)


def test_smaller_input_shows_what_it_is_given():
    given = detected([[1, 2, 3, 4]], [0.5], [3])
    assert make_propagator("smaller-input").propagate(None, given).boxes is given
