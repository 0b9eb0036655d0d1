"""Boxes moved by flow follow objects whose boxes are known exactly, and nothing breaks where nothing can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError, ShapeError, StateError
from lsts_edge.runtime.propagators import make_propagator
from moving_object import HEIGHT_PX, WIDTH_PX, moving_object, texture


def boxes_of(*rows: np.ndarray, score: float = 0.9) -> Boxes:
    count = len(rows)
    return Boxes(np.array(rows, np.float32).reshape(-1, 4), np.full(count, score, np.float32), np.arange(count))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = sides.prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


# Dense flow is smooth: it drags behind where a small object meets ground that stands still. Points do not.
@pytest.mark.parametrize(("flow", "least_iou"), [("dis", 0.75), ("lk", 0.95)])
def test_follows_a_shift_that_holding_loses(flow, least_iou):
    propagator = make_propagator("flow-boxes", {"flow": flow})
    picture, start = moving_object((80, 90), (60, 48))
    propagator.keyframe(picture, boxes_of(start))
    for step in range(1, 9):
        picture, box = moving_object((80 + 5 * step, 90 + 2 * step), (60, 48))
        found = propagator.propagate(picture)
        assert found.moved.tolist() == [True]
        assert iou(found.boxes.xyxy_px[0], box) > least_iou
    assert iou(start, box) < 0.35


@pytest.mark.parametrize("flow", ["dis", "lk"])
def test_follows_growth_of_each_side(flow):
    propagator = make_propagator("flow-boxes", {"flow": flow})
    picture, start = moving_object((160, 96), (70, 60))
    propagator.keyframe(picture, boxes_of(start))
    for step in range(1, 9):
        picture, box = moving_object((160, 96), (70 * 1.04**step, 60 * 1.01**step))
        found = propagator.propagate(picture)
    assert iou(found.boxes.xyxy_px[0], box) > 0.88 > iou(start, box) + 0.15


def test_two_objects_keep_their_own_motion_score_and_label():
    propagator = make_propagator("flow-boxes")
    for step in range(7):
        picture, left = moving_object((70 + 4 * step, 60), (50, 50))
        picture, right = moving_object((240 - 4 * step, 130), (50, 50), picture)
        if step == 0:
            found = Boxes(np.stack((left, right)), np.array([0.4, 0.8]), np.array([7, 3]))
            propagator.keyframe(picture, found)
        else:
            found = propagator.propagate(picture)
    assert found.boxes.labels.tolist() == [3, 7]  # best score first
    assert iou(found.boxes.xyxy_px[0], right) > 0.75 > iou(right - [-24, 0, -24, 0], right) + 0.3
    assert iou(found.boxes.xyxy_px[1], left) > 0.75


@pytest.mark.parametrize("flow", ["dis", "lk"])
def test_box_that_leaves_is_clipped_then_dropped(flow):
    # The camera turns: all of the picture moves right by 6 pixels a frame.
    wide = texture(1, HEIGHT_PX, WIDTH_PX + 120)
    start = np.array([WIDTH_PX - 90, 66, WIDTH_PX - 30, 126], np.float32)
    propagator = make_propagator("flow-boxes", {"flow": flow})
    propagator.keyframe(wide[:, 120:], boxes_of(start))
    frame = np.array([WIDTH_PX, HEIGHT_PX] * 2)
    counts = []
    for step in range(1, 16):
        found = propagator.propagate(wide[:, 120 - 6 * step : 120 - 6 * step + WIDTH_PX])
        box = np.clip(start + np.array([6 * step, 0, 6 * step, 0]), 0, frame)
        for shown in found.boxes.xyxy_px:
            assert (np.clip(shown, 0, frame) == shown).all()
            assert iou(shown, box) > 0.8
        counts.append(len(found))
    # A quarter of the box is left after 12.5 frames.
    assert counts == [1] * counts.index(0) + [0] * (15 - counts.index(0))
    assert 11 <= counts.index(0) <= 13


def test_side_cut_off_by_the_frame_stays_at_the_border():
    # The object enters: half of it is seen, and more with every frame.
    propagator = make_propagator("flow-boxes")
    for step in range(6):
        picture, whole = moving_object((5 + 4 * step, 96), (80, 70))
        box = np.maximum(whole, 0)
        if step == 0:
            propagator.keyframe(picture, boxes_of(box))
        else:
            found = propagator.propagate(picture)
    assert found.boxes.xyxy_px[0, 0] == 0
    assert iou(found.boxes.xyxy_px[0], box) > 0.9


def test_it_says_how_far_the_fastest_box_that_counts_has_moved():
    still, slow, fast = (20, 150), (100, 60), (200, 130)
    for score, expected in ((0.9, 6 / 50), (0.1, 2 / 50)):  # the fast one counts, or is too doubtful to
        propagator = make_propagator("flow-boxes", {"most_motion": 0.1, "motion_score": 0.3})
        for step in range(3):
            picture, first = moving_object(still, (30, 30))
            picture, second = moving_object((slow[0] + 2 * step, slow[1]), (50, 50), picture)
            picture, third = moving_object((fast[0], fast[1] - 6 * step), (50, 50), picture)
            if step == 0:
                found = Boxes(np.stack((first, second, third)), np.array([0.9, 0.5, score]), np.zeros(3, int))
                propagator.keyframe(picture, found)
            else:
                assert propagator.propagate(picture).motion == pytest.approx(expected, rel=0.25)
    propagator.keyframe(picture, boxes_of())
    assert propagator.propagate(picture).motion == 0.0
    quiet = make_propagator("flow-boxes")
    quiet.keyframe(picture, boxes_of(first))
    assert quiet.propagate(picture).motion is None


def test_no_boxes_stay_none_and_no_keyframe_is_an_error():
    propagator = make_propagator("flow-boxes")
    picture = texture(1)
    with pytest.raises(StateError):
        propagator.propagate(picture)
    propagator.keyframe(picture, boxes_of())
    found = propagator.propagate(picture)
    assert len(found) == 0
    assert found.boxes.xyxy_px.shape == (0, 4)
    propagator.reset()
    with pytest.raises(StateError):
        propagator.propagate(picture)


def test_size_change_is_refused_and_changes_nothing():
    propagator = make_propagator("flow-boxes")
    picture, box = moving_object((80, 90), (60, 48))
    propagator.keyframe(picture, boxes_of(box))
    for wrong in (picture[:100], picture.astype(np.float32), None, np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)):
        with pytest.raises(ShapeError):
            propagator.propagate(wrong)
    picture, box = moving_object((86, 90), (60, 48))
    assert iou(propagator.propagate(picture).boxes.xyxy_px[0], box) > 0.9
    with pytest.raises(ShapeError):
        propagator.keyframe(None, boxes_of(box))


@pytest.mark.parametrize("flow", ["dis", "lk"])
def test_pictures_without_texture_hold_the_boxes(flow):
    propagator = make_propagator("flow-boxes", {"flow": flow})
    flat = np.full((HEIGHT_PX, WIDTH_PX), 90, np.uint8)
    box = np.array([40, 40, 120, 100], np.float32)
    propagator.keyframe(flat, boxes_of(box))
    for _ in range(5):
        found = propagator.propagate(flat)
        np.testing.assert_allclose(found.boxes.xyxy_px, box[None], atol=0.5)
        assert np.isfinite(found.boxes.scores).all()


@pytest.mark.parametrize("flow", ["dis", "lk"])
@pytest.mark.parametrize(("height", "width"), [(192, 320), (33, 47), (8, 300), (1, 1)])
def test_tiny_huge_and_hostile_boxes_give_finite_boxes_in_the_frame(flow, height, width):
    random = np.random.RandomState(0)
    boxes = np.array(
        [[10, 10, 11, 11], [10, 10, 10, 10], [-500, -500, 5000, 5000], [0, 0, 0.2, 0.2], [50, 50, 20, 20],
         [1e9, 1e9, 2e9, 2e9], [np.nan, 0, 1, 1], [0, 0, np.inf, 1]], np.float32,
    )  # fmt: skip
    found = Boxes(boxes, np.linspace(0.9, 0.5, len(boxes)), np.zeros(len(boxes), int))
    propagator = make_propagator("flow-boxes", {"flow": flow, "least_visible": 0, "most_error": 1})
    propagator.keyframe(random.randint(0, 256, (height, width)).astype(np.uint8), found)
    for _ in range(4):
        found = propagator.propagate(random.randint(0, 256, (height, width)).astype(np.uint8))
        assert np.isfinite(found.boxes.xyxy_px).all()
        assert np.isfinite(found.boxes.scores).all()
        assert found.boxes.xyxy_px.min(initial=0) >= 0
        assert (found.boxes.xyxy_px <= [width, height, width, height]).all()


def test_one_pixel_box_moves_along_and_keeps_its_size():
    propagator = make_propagator("flow-boxes")
    picture, box = moving_object((80, 90), (60, 60))
    pixel = np.array([80, 90, 81, 91], np.float32)
    propagator.keyframe(picture, boxes_of(box, pixel))
    for step in range(1, 6):
        picture, _ = moving_object((80 + 3 * step, 90), (60, 60))
        found = propagator.propagate(picture)
    np.testing.assert_allclose(found.boxes.xyxy_px[1], pixel + np.array([15, 0, 15, 0]), atol=2)
    np.testing.assert_allclose(np.diff(found.boxes.xyxy_px[1, [0, 2]]), 1, atol=0.05)


def test_box_whose_picture_is_torn_apart_is_dropped():
    # Bands of the second box slide past each other, the first box stays whole.
    picture = texture(1)
    whole, torn = np.array([40, 40, 110, 110], np.float32), np.array([180, 80, 260, 170], np.float32)
    after = picture.copy()
    for band, slide_px in enumerate((-10, 0, 10)):
        rows = slice(80 + 30 * band, 110 + 30 * band)
        after[rows, 160:280] = picture[rows, 160 - slide_px : 280 - slide_px]
    labels = []
    for most_error in (0.05, 1):
        propagator = make_propagator("flow-boxes", {"flow": "lk", "reduce": 1, "most_error": most_error})
        propagator.keyframe(picture, boxes_of(whole, torn))
        labels.append(propagator.propagate(after).boxes.labels.tolist())
    assert labels == [[0], [0, 1]]


def test_only_boxes_worth_it_are_moved_and_scores_decay():
    picture = texture(1)
    boxes = np.tile(np.array([[40, 40, 90, 90]], np.float32), (4, 1))
    found = Boxes(boxes, np.array([0.2, 0.04, 0.9, 0.5]), np.arange(4))
    propagator = make_propagator("flow-boxes", {"most_boxes": 2, "score_decay": 0.5})
    propagator.keyframe(picture, found)
    shown = propagator.propagate(picture)
    assert shown.boxes.labels.tolist() == [2, 3]
    np.testing.assert_allclose(shown.boxes.scores, [0.45, 0.25], rtol=1e-6)
    np.testing.assert_allclose(propagator.propagate(picture).boxes.scores, [0.225, 0.125], rtol=1e-6)


def test_corners_come_back_by_the_rule_they_came_by():
    edges, inclusive = make_propagator("flow-boxes"), make_propagator("flow-boxes")
    picture, box = moving_object((80, 90), (60, 48))
    edges.keyframe(picture, boxes_of(box))
    inclusive.keyframe(picture, boxes_of(box).with_corners("inclusive"))
    picture, box = moving_object((84, 90), (60, 48))
    first, second = edges.propagate(picture).boxes, inclusive.propagate(picture).boxes
    assert (first.corners, second.corners) == ("edges", "inclusive")
    np.testing.assert_allclose(second.as_edges().xyxy_px, first.xyxy_px, atol=1e-4)


def test_the_callers_picture_may_be_used_again():
    propagator = make_propagator("flow-boxes", {"reduce": 1})
    buffer, box = moving_object((80, 90), (60, 48))
    buffer = buffer.copy()
    propagator.keyframe(buffer, boxes_of(box))
    for step in range(1, 4):
        buffer[:], box = moving_object((80 + 5 * step, 90), (60, 48))
        found = propagator.propagate(buffer)
    assert iou(found.boxes.xyxy_px[0], box) > 0.9


@pytest.mark.parametrize(
    "parameters",
    [{"flow": "raft"}, {"reduce": 0}, {"reduce": 1.5}, {"grid": 1}, {"most_boxes": True}, {"least_score": -0.1},
     {"score_decay": 1.1}, {"score_decay": float("nan")}, {"most_error": "much"}],
)  # fmt: skip
def test_options_out_of_range_are_refused(parameters):
    with pytest.raises(OptionError, match=next(iter(parameters))):
        make_propagator("flow-boxes", parameters)
