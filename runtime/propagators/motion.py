"""Moves boxes by what happened at points inside them: a shift and a stretch a box, all boxes at once."""

from __future__ import annotations

import numpy as np

__all__ = ["move_boxes", "sample_points"]

_MARGIN = 0.15  # share of a box's side left out at each edge: there is background
_FEWEST_POINTS = 4
_TRIM = 1.5  # a point that errs by more than this many medians belongs to something else
_LEAST_SPREAD_PX2 = 16.0  # of points around their mean; a box of fewer pixels moves, but is not stretched
_MOST_STRETCH = 0.1  # of a box from one frame to the next


def sample_points(boxes_xyxy_px: np.ndarray, height_px: int, width_px: int, grid: int) -> np.ndarray:
    """A grid of points in the part of each box that lies in the picture.

    Args:
        boxes_xyxy_px: ``(D, 4)``.
        height_px: of the picture.
        width_px: of the picture.
        grid: points along a side.
    Returns:
        ``(D, grid * grid, 2)`` float32, x and y.
    """
    last = np.array([width_px - 1, height_px - 1] * 2, np.float32)
    seen = np.clip(boxes_xyxy_px, 0, last)
    steps = np.linspace(_MARGIN, 1 - _MARGIN, grid, dtype=np.float32)
    unit = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return np.asarray(seen[:, None, :2] + unit * (seen[:, None, 2:] - seen[:, None, :2]))


def move_boxes(boxes_xyxy_px: np.ndarray, points: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move each box as its points moved.

    ``shift(p) = t + k * (p - c)``, k apart for x and y: t starts as the median of the shifts, points that err by more
    than 1.5 times the median are left out, and t and k are the least squares of the rest. The median finds the object
    where it fills more than half of its box, and the squares measure how it grows.

    Args:
        boxes_xyxy_px: ``(D, 4)`` float32.
        points: ``(D, S, 2)``, in the same pixels.
        shifts: ``(D, S, 2)``, of the points; NaN where a point was lost.
    Returns:
        ``(D, 4)`` float32; a box with fewer than four points stays. And ``(D,)`` float32, how badly a shift and a
        stretch describe the points: their median error as a share of the shorter side; 0 where the points are lost.
    """
    known = np.isfinite(shifts).all(axis=2)
    middle = _median(np.where(known[..., None], shifts, np.nan))
    error = np.where(known, np.abs(shifts - middle[:, None]).sum(axis=2), np.nan)
    limit = _TRIM * _median(error[..., None]) + 0.1
    weight = (error <= limit).astype(np.float32)[..., None]
    count = weight.sum(axis=1)
    enough = count[:, 0] >= _FEWEST_POINTS
    count = np.maximum(count, 1)
    center = (weight * points).sum(axis=1) / count
    shift = np.where(weight > 0, shifts, 0).sum(axis=1) / count
    spread = points - center[:, None]
    rest = np.where(known[..., None], shifts - shift[:, None], 0)
    stretch = (weight * spread * rest).sum(axis=1)
    stretch /= np.maximum((weight * spread**2).sum(axis=1), _LEAST_SPREAD_PX2)
    stretch = np.clip(stretch, -_MOST_STRETCH, _MOST_STRETCH)
    corners = boxes_xyxy_px.reshape(-1, 2, 2)
    moved = corners + (shift[:, None] + stretch[:, None] * (corners - center[:, None]))
    error = np.abs(rest - stretch[:, None] * spread).sum(axis=2)
    side = np.maximum((points[:, -1] - points[:, 0]).min(axis=1) / (1 - 2 * _MARGIN), 1)
    share = _median(np.where(known, error, np.nan)[..., None])[:, 0] / side
    boxes = np.where(enough[:, None], moved.reshape(-1, 4), boxes_xyxy_px).astype(np.float32)
    return boxes, np.where(enough, np.minimum(share, 1), 0).astype(np.float32)


def _median(values: np.ndarray) -> np.ndarray:
    """Lower median over the axis 1 of ``(D, S, n)``, NaN left out: a sort, as ``np.nanmedian`` is ten times slower."""
    ranked = np.sort(values, axis=1)  # NaN come last
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    return np.asarray(np.take_along_axis(ranked, np.maximum(count - 1, 0) // 2, axis=1)[:, 0])
