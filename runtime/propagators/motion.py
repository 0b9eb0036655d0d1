"""Moves boxes by what happened at points inside them: a shift and a stretch a box, all boxes at once."""

from __future__ import annotations

import functools

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
    seen = np.minimum(np.maximum(boxes_xyxy_px, 0), last)[:, None]
    first = seen[..., :2]
    return np.asarray(first + _unit_grid(grid) * (seen[..., 2:] - first))


@functools.cache
def _unit_grid(grid: int) -> np.ndarray:
    steps = np.linspace(_MARGIN, 1 - _MARGIN, grid, dtype=np.float32)
    unit = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    unit.flags.writeable = False
    return unit


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
    # A frame costs some forty calls of NumPy, whatever the number of boxes: each call saved is a hundredth of it.
    corners = boxes_xyxy_px.reshape(-1, 2, 2)
    middle = corners.mean(axis=1, keepdims=True)  # places count from here, so that float32 sums keep small boxes apart
    place, shift = (points - middle).transpose(0, 2, 1), shifts.transpose(0, 2, 1)  # (D, 2, S)
    known = np.isfinite(shift).all(axis=1)
    some_lost = not known.all()
    if some_lost:
        shift = np.where(known[:, None], shift, np.nan)
    usual = _median(shift, some_lost)
    rest = shift - usual
    error = np.abs(rest).sum(axis=1)
    good = (error <= _TRIM * _median(error, some_lost) + 0.1).astype(np.float32)
    if some_lost:
        rest = np.where(known[:, None], rest, 0)
    # Sums over the good points of: 1, place, rest, place ** 2, place * rest; the last axis is x and y.
    sums = np.concatenate((np.ones_like(place), place, rest, place * place, place * rest), axis=1) @ good[..., None]
    count, places, rests, squares, products = sums.reshape(-1, 5, 2).transpose(1, 0, 2)
    enough = count[:, :1] >= _FEWEST_POINTS
    count = np.maximum(count, 1)
    center, drift = places / count, rests / count
    stretch = (products - places * drift) / np.maximum(squares - places * center, _LEAST_SPREAD_PX2)
    stretch = np.minimum(np.maximum(stretch, -_MOST_STRETCH), _MOST_STRETCH)[..., None]
    center, drift = center[..., None], drift[..., None]
    corners = (corners - middle).transpose(0, 2, 1)
    moved = corners + (usual + drift + stretch * (corners - center))
    error = np.abs(rest - drift - stretch * (place - center)).sum(axis=1)
    if some_lost:
        error = np.where(known, error, np.nan)
    side = np.maximum((points[:, -1] - points[:, 0]).min(axis=1, keepdims=True) / (1 - 2 * _MARGIN), 1)
    share = np.where(enough, np.minimum(_median(error, some_lost) / side, 1), 0)
    boxes = np.where(enough[..., None], moved.transpose(0, 2, 1) + middle, boxes_xyxy_px.reshape(-1, 2, 2))
    return boxes.reshape(-1, 4), share[:, 0]


def _median(values: np.ndarray, some_nan: bool) -> np.ndarray:
    """Lower median over the last axis, which stays; NaN are left out. ``np.nanmedian`` is ten times slower."""
    ranked = np.sort(values, axis=-1)  # NaN come last
    if not some_nan:
        middle = (values.shape[-1] - 1) // 2
        return ranked[..., middle : middle + 1]
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    return np.asarray(np.take_along_axis(ranked, np.maximum(count - 1, 0) // 2, axis=-1))
