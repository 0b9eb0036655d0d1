"""Shots that look like nothing else: a camera turns over a coloured ground of its own palette."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["flash", "pan"]


def _place(seed: int, width_px: int = 640) -> np.ndarray:
    """A coloured picture of its own palette, ``(120, width, 3)``."""
    random = np.random.RandomState(seed)
    noise = cv2.GaussianBlur(random.rand(120, width_px, 3).astype(np.float32), (0, 0), 6)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    palette = random.rand(3) * 160
    return np.clip(noise * 120 + palette, 0, 255).astype(np.uint8)


def pan(seed: int, count: int, step_px: int = 2) -> list[np.ndarray]:
    """``count`` pictures ``(120, 200, 3)`` of a place, each ``step_px`` further."""
    whole = _place(seed, 200 + step_px * count)
    return [whole[:, step_px * index : step_px * index + 200] for index in range(count)]


def flash(picture: np.ndarray) -> np.ndarray:
    """The same under a bright light."""
    return cv2.add(picture // 2, np.full_like(picture, 130))
