"""The one boxes type: corner rules, value equality, and what other tools are given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError, ShapeError


def some(corners: str = "edges") -> Boxes:
    sides = np.array([[1, 2, 11, 22], [0, 0, 4, 3]], np.float32)
    return Boxes(sides, np.array([0.75, 0.5], np.float32), np.array([3, 1]), corners)  # type: ignore[arg-type]


def test_inclusive_corners_gain_a_pixel_as_edges_and_come_back() -> None:
    edges = some("inclusive").as_edges()
    assert edges.corners == "edges"
    assert edges.xyxy_px.tolist() == [[1, 2, 12, 23], [0, 0, 5, 4]]
    assert edges.with_corners("inclusive") == some("inclusive")
    assert some().as_edges() == some()


def test_equality_is_of_content_and_rule() -> None:
    assert some() == some()
    assert some() != some("inclusive")
    moved = dataclasses.replace(some(), xyxy_px=some().xyxy_px + 1)
    assert some() != moved
    assert some() != some().select(np.array([True, False]))
    assert some() != "boxes"
    with pytest.raises(TypeError):
        hash(some())


def test_shapes_are_printed_not_pixels() -> None:
    assert repr(some()) == "Boxes(xyxy_px (2, 4), scores (2,), labels (2,), edges)"


@pytest.mark.parametrize(
    ("sides", "scores", "labels"),
    [
        (np.zeros((2, 4)), np.zeros(3), np.zeros(2, np.int64)),
        (np.zeros((2, 4)), np.zeros(2), np.zeros(1, np.int64)),
        (np.zeros((2, 5)), np.zeros(2), np.zeros(2, np.int64)),
        (np.zeros(8), np.zeros(2), np.zeros(2, np.int64)),
        (np.zeros((1, 4)), np.zeros(()), np.zeros(1, np.int64)),
        (np.zeros((2, 4)), np.zeros(2), np.zeros(2)),  # labels are no integers
        (np.zeros((2, 4), np.int64), np.zeros(2), np.zeros(2, np.int64)),
    ],
)
def test_what_does_not_fit_is_refused(sides: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="boxes"):
        Boxes(sides, scores, labels)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="corners"):
        some("middle")


def test_numbers_have_one_type_whatever_came_in() -> None:
    boxes = Boxes(np.zeros((1, 4)), np.zeros(1, np.float16), np.zeros(1, np.int32))
    assert (boxes.xyxy_px.dtype, boxes.scores.dtype, boxes.labels.dtype) == (np.float32, np.float32, np.int64)


def test_select_by_mask_and_by_index() -> None:
    assert some().select(some().scores > 0.6).labels.tolist() == [3]
    assert some().select(np.array([1, 0])).labels.tolist() == [1, 3]
    assert len(some().select(np.zeros(0, np.int64))) == 0


def test_join_keeps_the_first_rule() -> None:
    joined = Boxes.join([Boxes.empty("inclusive"), some()])
    assert joined.corners == "inclusive"
    assert joined.as_edges() == some()


def test_iou_is_of_areas_whatever_the_rules() -> None:
    a = Boxes(np.array([[0, 0, 10, 10]], np.float32), np.ones(1), np.zeros(1, int))
    half = Boxes(np.array([[0, 0, 9, 4], [50, 50, 60, 60]], np.float32), np.ones(2), np.zeros(2, int), "inclusive")
    np.testing.assert_allclose(a.iou(half), [[0.5, 0.0]])
    inclusive = a.with_corners("inclusive")
    np.testing.assert_allclose(inclusive.iou(half), [[0.5, 0.0]])
    point = Boxes(np.array([[5, 5, 5, 5]], np.float32), np.ones(1), np.zeros(1, int))
    assert point.iou(point).tolist() == [[0.0]]
    assert a.iou(Boxes.empty()).shape == (1, 0)


def test_coco_rows_are_widths() -> None:
    assert some("inclusive").to_coco(7, {1: 10, 3: 30}) == [
        {"image_id": 7, "category_id": 30, "bbox": [1.0, 2.0, 11.0, 21.0], "score": 0.75},
        {"image_id": 7, "category_id": 10, "bbox": [0.0, 0.0, 5.0, 4.0], "score": 0.5},
    ]


def test_supervision_gets_edges() -> None:
    pytest.importorskip("supervision")
    found = some("inclusive").to_supervision()
    np.testing.assert_array_equal(found.xyxy, some("inclusive").as_edges().xyxy_px)
    assert found.class_id is not None and found.class_id.tolist() == [3, 1]
    assert found.confidence is not None and found.confidence.tolist() == [0.75, 0.5]
    assert found.area.tolist() == [11 * 21, 5 * 4]
