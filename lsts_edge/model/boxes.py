"""Box arithmetic with inclusive corners (w = x2 - x1 + 1) and exact greedy suppression without a loop over boxes."""

from __future__ import annotations

import torch

from lsts_edge.boxes import Corners

__all__ = [
    "CORNERS",
    "anchor_boxes",
    "clip_boxes",
    "decode_boxes",
    "encode_boxes",
    "grid_anchors",
    "nms",
    "overlaps",
    "suppress",
]

CORNERS: Corners = "inclusive"
"""Of every box in the model, those it gives included."""
_NMS_BLOCK = 1024


def anchor_boxes(base_px: int, ratios: tuple[float, ...], scales: tuple[float, ...]) -> torch.Tensor:
    """Anchors of the first cell, ratio-major then scale, as Faster R-CNN makes them.

    ``w = round(sqrt(base^2 / ratio))``, ``h = round(w * ratio)``, both times the scale, centred in the base square.

    Returns:
        ``(A, 4)`` float32 xyxy in pixels.
    """
    centre = (base_px - 1) / 2
    rows = []
    for ratio in ratios:
        width = round((base_px**2 / ratio) ** 0.5)
        height = round(width * ratio)
        for scale in scales:
            half_w, half_h = (width * scale - 1) / 2, (height * scale - 1) / 2
            rows.append((centre - half_w, centre - half_h, centre + half_w, centre + half_h))
    return torch.tensor(rows, dtype=torch.float32, device="cpu")


def grid_anchors(cell: torch.Tensor, height: int, width: int, stride: int) -> torch.Tensor:
    """The anchors of every cell, ``(H * W * A, 4)``: row by row, cell by cell, anchor by anchor."""
    y = torch.arange(height, device=cell.device, dtype=cell.dtype) * stride
    x = torch.arange(width, device=cell.device, dtype=cell.dtype) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack((grid_x, grid_y, grid_x, grid_y), dim=-1)
    return (shifts[:, :, None, :] + cell).reshape(-1, 4)


def decode_boxes(boxes: torch.Tensor, deltas: torch.Tensor) -> torch.Tensor:
    """Move ``boxes (..., 4)`` xyxy by ``deltas (..., 4)`` = (dx, dy, log dw, log dh), inclusive widths."""
    size = boxes[..., 2:] - boxes[..., :2] + 1
    centre = boxes[..., :2] + 0.5 * (size - 1) + deltas[..., :2] * size
    half = 0.5 * (size * deltas[..., 2:].exp() - 1)
    return torch.cat((centre - half, centre + half), dim=-1)


def encode_boxes(boxes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Deltas that ``decode_boxes`` would need to turn ``boxes`` into ``targets``; both ``(..., 4)`` xyxy."""
    size = boxes[..., 2:] - boxes[..., :2] + 1
    target_size = targets[..., 2:] - targets[..., :2] + 1
    centre = boxes[..., :2] + 0.5 * (size - 1)
    target_centre = targets[..., :2] + 0.5 * (target_size - 1)
    return torch.cat(((target_centre - centre) / size, (target_size / size).log()), dim=-1)


def clip_boxes(boxes: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
    """Corners into ``[0, width_px - 1]`` and ``[0, height_px - 1]``."""
    limit = boxes.new_tensor((width_px - 1, height_px - 1, width_px - 1, height_px - 1))
    return torch.minimum(boxes.clamp(min=0), limit)


def overlaps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU with inclusive widths of ``a (..., P, 4)`` and ``b (..., Q, 4)``: ``(..., P, Q)``."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    inter = (high - low + 1).clamp(min=0).prod(dim=-1)
    area_a = (a[..., 2:] - a[..., :2] + 1).prod(dim=-1)
    area_b = (b[..., 2:] - b[..., :2] + 1).prod(dim=-1)
    return inter / (area_a[..., :, None] + area_b[..., None, :] - inter)


def suppress(beats: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Which of the sorted boxes greedy suppression keeps.

    ``keep_i = valid_i and no j < i with keep_j and beats_ij``. Applying the rule to all boxes at once and repeating
    until nothing changes gives the greedy answer: after t rounds every box whose chain of earlier overlapping boxes
    is shorter than t is settled, and a settled answer is the sequential one.

    Args:
        beats: ``(..., P, P)`` bool, overlap of i with j above the limit (only ``j < i`` is read).
        valid: ``(..., P)`` bool.
    """
    earlier = beats.tril(diagonal=-1)
    keep = valid
    while True:
        settled = valid & ~(earlier & keep[..., None, :]).any(dim=-1)
        if torch.equal(settled, keep):
            return keep
        keep = settled


def nms(boxes: torch.Tensor, iou: float, max_keep: int) -> torch.Tensor:
    """Greedy suppression of boxes that are already sorted, best first; a box falls when its IoU is above ``iou``.

    Works block by block, so memory stays bounded for thousands of boxes.

    Args:
        boxes: ``(P, 4)`` xyxy, inclusive.
        iou: the limit.
        max_keep: stop after so many.

    Returns:
        Indices of the kept boxes, ascending, at most ``max_keep``.
    """
    kept = boxes.new_zeros(0, dtype=torch.int64)
    for start in range(0, len(boxes), _NMS_BLOCK):
        block = boxes[start : start + _NMS_BLOCK]
        valid = ~(overlaps(block, boxes[kept]) > iou).any(dim=1)
        keep = suppress(overlaps(block, block) > iou, valid)
        kept = torch.cat((kept, keep.nonzero()[:, 0] + start))
        if len(kept) >= max_keep:
            break
    return kept[:max_keep]
