"""What counts as the same: tensor errors and matched boxes."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.verify.parity import ParityTotals, doubt_of, match_boxes, tensor_error


def _boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), "inclusive")


A = (10, 10, 50, 60, 0.9, 1)
B = (100, 20, 180, 90, 0.4, 2)


def _match(wanted: Boxes, got: Boxes, cap: int = 100) -> tuple[int, int, int]:
    match = match_boxes(wanted, got, nms_iou=0.3, max_detections=cap)
    return match.boxes, match.unmatched, match.near_threshold


def test_the_order_does_not_matter() -> None:
    assert _match(_boxes(A, B), _boxes(B, A)) == (2, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        (10, 10, 50, 60, 0.9, 2),  # another class
        (10, 10, 50, 62, 0.9, 1),  # IoU 0.96
        (10, 10, 50, 60, 0.8985, 1),  # score off by 1.5e-3
    ],
)
def test_what_is_not_the_same_box(other: tuple[float, float, float, float, float, int]) -> None:
    assert _match(_boxes(A), _boxes(other)) == (1, 2, 0)  # both are left without a partner


def test_a_box_has_one_partner() -> None:
    assert _match(_boxes(A, A), _boxes(A)) == (2, 1, 0)


def test_low_scores_do_not_count() -> None:
    assert _match(_boxes((10, 10, 50, 60, 0.04, 1)), _boxes()) == (0, 0, 0)
    assert _match(_boxes(), _boxes()) == (0, 0, 0)


def test_a_score_at_the_floor_may_fall_either_way() -> None:
    assert _match(_boxes((10, 10, 50, 60, 0.0503, 1)), _boxes((10, 10, 50, 60, 0.0498, 1))) == (1, 0, 0)
    assert _match(_boxes((10, 10, 50, 60, 0.0503, 1)), _boxes()) == (1, 0, 1)


def test_a_score_at_the_cut_of_the_list() -> None:
    last = (200, 10, 250, 60, 0.3995, 1)
    assert _match(_boxes(A, last), _boxes(A, B), cap=2) == (2, 0, 2)
    assert _match(_boxes(A, last), _boxes(A, B), cap=3) == (2, 2, 0)


def test_an_overlap_at_the_suppression_limit() -> None:
    # 100 x 100 boxes moved by x: IoU (100 - x) / (100 + x) is 0.3 at x = 53.846.
    keeper, edge = (0, 0, 99, 99, 0.9, 1), (53.85, 0, 152.85, 99, 0.5, 1)
    assert _match(_boxes(keeper, edge), _boxes(keeper)) == (2, 0, 1)
    far = (54.5, 0, 153.5, 99, 0.5, 1)
    assert _match(_boxes(keeper, far), _boxes(keeper)) == (2, 1, 0)


def test_tensor_error() -> None:
    wanted = np.array([2.0, -4.0])
    assert tensor_error(np.array([2.0, -4.004]), wanted, 4.0) == pytest.approx(1e-3)
    assert tensor_error(np.array([2.0, np.nan]), wanted, 4.0) == float("inf")
    assert tensor_error(np.array([2.0]), wanted, 4.0) == float("inf")
    assert tensor_error(np.array([1e-5]), np.zeros(1), 0.0) == pytest.approx(1e-5)


def test_totals() -> None:
    totals = ParityTotals()
    assert not totals.passed  # nothing was compared
    totals.frames = 1
    totals.add_tensor("task", 0, 5e-5)
    totals.boxes, totals.near_threshold = 200, 2
    assert totals.passed
    totals.near_threshold = 3
    assert not totals.passed
    totals.near_threshold = 0
    totals.add_tensor("task", 1, float("nan"))
    assert not totals.passed and totals.worst == "task in frame 1"


def test_a_box_that_the_reference_itself_may_lose() -> None:
    """What torch gives for a feature within tolerance counts as near a threshold; anything else is wrong."""
    moved = (10, 10, 50, 62, 0.93, 1)
    doubt = doubt_of(_boxes(B, A), [_boxes(A, B), _boxes(moved, B)])
    assert doubt.fragile.tolist() == [False, True]
    assert doubt.extra.scores.tolist() == pytest.approx([0.93])

    def match(got: Boxes) -> tuple[int, int, int]:
        found = match_boxes(_boxes(B, A), got, nms_iou=0.3, max_detections=100, doubt=lambda: doubt)
        return found.boxes, found.unmatched, found.near_threshold

    assert match(_boxes(moved, B)) == (2, 0, 2)
    assert match(_boxes((10, 10, 50, 66, 0.93, 1), B)) == (2, 1, 1)  # another box than the one in doubt
    assert match(_boxes(A)) == (2, 1, 0)  # B is not in doubt
