"""Weighted box fusion: by hand, and as the authors' package does it."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.train.fusion import fuse_boxes


def boxes(rows: list[list[float]], scores: list[float], labels: list[int]) -> Boxes:
    return Boxes(np.array(rows, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64))


def test_two_that_agree_by_hand():
    fused = fuse_boxes([boxes([[0, 0, 10, 10]], [0.9], [1]), boxes([[1, 0, 11, 10]], [0.3], [1])])
    # (0.9 * 0 + 0.3 * 1) / 1.2 = 0.25, and both have it: (0.9 + 0.3) / 2
    assert fused.xyxy_px.tolist() == [[0.25, 0.0, 10.25, 10.0]]
    assert fused.scores.tolist() == pytest.approx([0.6]) and fused.labels.tolist() == [1]


def test_what_one_of_two_sees_keeps_half_its_score():
    fused = fuse_boxes([boxes([[0, 0, 10, 10]], [0.8], [0]), Boxes.empty()])
    assert fused.scores.tolist() == pytest.approx([0.4])


def test_another_class_or_place_is_another_object():
    one = boxes([[0, 0, 10, 10], [5, 0, 15, 10]], [0.8, 0.6], [0, 0])  # IoU 1/3
    other = boxes([[0, 0, 10, 10]], [0.5], [1])
    fused = fuse_boxes([one, other])
    assert fused.scores.tolist() == pytest.approx([0.4, 0.3, 0.25]) and fused.labels.tolist() == [0, 0, 1]


def test_a_second_box_of_the_same_detector_is_no_second_voice_beyond_all():
    fused = fuse_boxes([boxes([[0, 0, 10, 10]] * 3, [0.9, 0.6, 0.3], [0, 0, 0]), Boxes.empty()])
    assert fused.scores.tolist() == pytest.approx([0.6])  # the mean; three boxes of two detectors count as two


def test_the_package_gives_the_same():
    # What ensemble-boxes 1.0.9 gives: weighted_boxes_fusion(..., iou_thr=0.55, skip_box_thr=0), boxes over 200.
    found = [
        boxes(
            [[93.4, 70.6, 133.3, 112.8], [113.6, 105.4, 166.4, 132.7], [114.9, 82.6, 150.4, 123.2],
             [143.9, 25.4, 184.5, 76.0], [94.9, 72.1, 134.8, 114.3]],
            [0.332, 0.499, 0.831, 0.79, 0.151], [0, 1, 1, 0, 0],
        ),
        boxes(
            [[94.0, 71.6, 142.3, 111.9], [118.1, 109.3, 165.7, 141.2], [116.2, 69.7, 154.9, 123.0],
             [147.3, 18.0, 192.3, 71.2]],
            [0.713, 0.566, 0.365, 0.613], [0, 1, 1, 0],
        ),
        boxes(
            [[100.8, 69.5, 146.1, 113.8], [115.9, 111.3, 168.9, 142.3], [113.4, 82.1, 153.6, 118.8],
             [137.7, 17.1, 186.5, 76.9]],
            [0.847, 0.677, 0.949, 0.588], [0, 1, 1, 0],
        ),
    ]  # fmt: skip
    fused = fuse_boxes(found)
    wanted = [[114.458, 80.184, 152.582, 121.219], [143.116, 20.67, 187.492, 74.788],
              [115.956, 108.96, 167.144, 139.193], [96.788, 70.604, 141.859, 113.011]]  # fmt: skip
    np.testing.assert_allclose(fused.xyxy_px, wanted, atol=2e-3)
    np.testing.assert_allclose(fused.scores, [0.715, 0.6637, 0.5807, 0.5107], atol=1e-4)
    assert fused.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("found", "iou"), [([], 0.5), ([Boxes.empty()], 0.0), ([Boxes.empty()], 1.0)])
def test_nothing_to_fuse_is_refused(found: list[Boxes], iou: float):
    with pytest.raises(OptionError):
        fuse_boxes(found, iou=iou)


def test_nothing_found_is_no_box():
    assert len(fuse_boxes([Boxes.empty(), Boxes.empty()])) == 0
