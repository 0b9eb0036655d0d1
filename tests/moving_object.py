"""A textured object that moves over a textured ground by a known rule, and its exact box."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["HEIGHT_PX", "WIDTH_PX", "moving_object", "texture"]

HEIGHT_PX, WIDTH_PX = 192, 320


def texture(seed: int, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    """Blobs of a few pixels, ``(h, w)`` uint8."""
    noise = np.random.RandomState(seed).rand(height_px, width_px).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moving_object(
    center_px: tuple[float, float], size_px: tuple[float, float], ground: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the box ``(4,)`` of an object of that center and size (width, height); the box is not clipped."""
    picture = texture(1) if ground is None else ground.copy()
    object_ = texture(2, 64, 64)
    (x, y), (width, height) = center_px, size_px
    low = (x - width / 2, y - height / 2)
    place = np.float32([[width / 64, 0, low[0]], [0, height / 64, low[1]]])
    size = (picture.shape[1], picture.shape[0])
    drawn = cv2.warpAffine(object_, place, size, flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.full((64, 64), 255, np.uint8), place, size, flags=cv2.INTER_LINEAR) > 127
    picture[inside] = drawn[inside]
    return picture, np.array([low[0], low[1], low[0] + width, low[1] + height], np.float32)
