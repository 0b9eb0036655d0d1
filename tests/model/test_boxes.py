"""Anchors, box arithmetic and suppression against values and loops written out."""

from __future__ import annotations

import pytest
import torch

from lsts_edge.model.boxes import (
    anchor_boxes,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    grid_anchors,
    nms,
    overlaps,
    suppress,
)


def random_boxes(count: int, seed: int, *, spread: float = 100.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * spread
    return torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 40), dim=1)


def greedy(boxes: torch.Tensor, iou: float) -> list[int]:
    """One after the other, best first, in plain numbers."""
    kept: list[int] = []
    table = overlaps(boxes, boxes).tolist()
    for i in range(len(boxes)):
        if all(table[i][j] <= iou for j in kept):
            kept.append(i)
    return kept


def test_anchors_are_those_of_faster_rcnn() -> None:
    anchors = anchor_boxes(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0))
    expected = [  # the table of the original code, which counts pixels from one; here from zero
        (-84, -40, 99, 55), (-176, -88, 191, 103), (-360, -184, 375, 199),
        (-56, -56, 71, 71), (-120, -120, 135, 135), (-248, -248, 263, 263),
        (-36, -80, 51, 95), (-80, -168, 95, 183), (-168, -344, 183, 359),
    ]  # fmt: skip
    assert anchors.tolist() == [list(map(float, row)) for row in expected]


def test_grid_goes_row_by_row_cell_by_cell_anchor_by_anchor() -> None:
    cell = torch.tensor([[0.0, 0.0, 3.0, 3.0], [1.0, 1.0, 2.0, 2.0]])
    grid = grid_anchors(cell, 2, 3, 16)
    assert grid.shape == (12, 4)
    assert grid[2].tolist() == [16, 0, 19, 3] and grid[3].tolist() == [17, 1, 18, 2]
    assert grid[6].tolist() == [0, 16, 3, 19]


def test_widths_are_inclusive() -> None:
    box = torch.tensor([[10.0, 20.0, 19.0, 24.0]])  # 10 x 5 pixels
    doubled = decode_boxes(box, torch.tensor([[0.1, 0.0, 0.6931472, 0.0]]))
    torch.testing.assert_close(doubled, torch.tensor([[6.0, 20.0, 25.0, 24.0]]))
    assert overlaps(box, torch.tensor([[19.0, 24.0, 19.0, 24.0]])).item() == pytest.approx(1 / 50)
    assert overlaps(box, torch.tensor([[20.0, 20.0, 29.0, 24.0]])).item() == 0


def test_encode_is_the_inverse_of_decode() -> None:
    boxes, targets = random_boxes(50, 0), random_boxes(50, 1)
    torch.testing.assert_close(decode_boxes(boxes, encode_boxes(boxes, targets)), targets, rtol=1e-4, atol=1e-4)


def test_clipping() -> None:
    boxes = torch.tensor([[-5.0, -6.0, 300.0, 400.0], [1.0, 2.0, 3.0, float("inf")]])
    assert clip_boxes(boxes, 96, 128).tolist() == [[0, 0, 127, 95], [1, 2, 3, 95]]


@pytest.mark.parametrize("iou", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_suppression_is_the_greedy_one(iou: float, seed: int) -> None:
    boxes = random_boxes(300, seed)
    assert nms(boxes, iou, 300).tolist() == greedy(boxes, iou)


def test_suppression_over_several_blocks_and_with_a_limit() -> None:
    boxes = random_boxes(1500, 9, spread=300.0)
    expected = greedy(boxes, 0.5)
    assert nms(boxes, 0.5, 1500).tolist() == expected
    assert nms(boxes, 0.5, 100).tolist() == expected[:100]


def test_a_long_chain_settles_in_order() -> None:
    """Each box overlaps its neighbours only: every second one stays, which takes as many rounds as boxes."""
    left = torch.arange(64.0) * 4
    boxes = torch.stack((left, torch.zeros(64), left + 9, torch.full((64,), 9.0)), dim=1)
    assert nms(boxes, 0.3, 64).tolist() == list(range(0, 64, 2))


def test_a_box_that_is_not_valid_suppresses_nothing() -> None:
    beats = torch.ones(3, 3, dtype=torch.bool)
    assert suppress(beats, torch.tensor([False, True, True])).tolist() == [False, True, False]


def test_nothing_to_suppress() -> None:
    assert nms(torch.zeros(0, 4), 0.5, 10).tolist() == []
