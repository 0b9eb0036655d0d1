"""How many pixels an object would have with nothing before it and no border: from the outlines of its convex parts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lsts_edge.datasets.render.camera import NEAR_M, PinholeCamera

__all__ = ["fill_outlines", "whole_area_px"]

_CANVAS_PX = 1200
_SHIFT = 4  # binary digits of a pixel that OpenCV keeps


def whole_area_px(parts: Sequence[np.ndarray], camera: PinholeCamera) -> float:
    """Area of an object in pixels, as if the picture went on; infinite where it reaches behind the camera.

    Args:
        parts: corners ``(V, 3)`` of its convex parts, in the world.
        camera: that sees it.
    """
    projected = [camera.project(corners) for corners in parts]
    if any((depths < NEAR_M).any() for _, depths in projected):
        return float("inf")
    places = [points for points, _ in projected]
    low = np.min([points.min(0) for points in places], axis=0)
    size = np.max([points.max(0) for points in places], axis=0) - low
    scale = min(8.0, _CANVAS_PX / max(float(size.max()), 1.0))  # finer than pixels, as small objects need
    canvas = np.zeros((int(size[1] * scale) + 3, int(size[0] * scale) + 3), np.uint8)
    fill_outlines(canvas, [(points - low) * scale for points in places], 1)
    return float(canvas.sum()) / scale**2


def fill_outlines(canvas: np.ndarray, parts: Sequence[np.ndarray], value: float) -> None:
    """Fill the convex hull of each part's places ``(V, 2)``, pixels with edges, into an image."""
    for points in parts:
        hull = cv2.convexHull(points.astype(np.float32))[:, 0] - 0.5  # OpenCV counts from pixels' centres
        cv2.fillConvexPoly(canvas, np.round(hull * (1 << _SHIFT)).astype(np.int32), value, cv2.LINE_8, _SHIFT)
