"""Draws detections on a frame: one colour per class, labels that stay readable, a small tag for the frame's kind."""

from __future__ import annotations

import cv2
import numpy as np

from lsts_edge.runtime.detections import Detections

__all__ = ["annotate"]

# Twelve hues far apart, BGR; classes beyond take them again.
_COLORS_BGR = (
    (75, 25, 230), (75, 180, 60), (25, 225, 255), (200, 130, 0), (48, 130, 245), (180, 30, 145),
    (240, 240, 70), (230, 50, 240), (60, 245, 210), (190, 190, 250), (128, 128, 0), (40, 110, 170),
)  # fmt: skip
_Plate = tuple[int, int, int, int]  # left, top, right, bottom
_FONT = cv2.FONT_HERSHEY_DUPLEX
_INK_BGR = ((255, 255, 255), (20, 20, 20))


def annotate(image: np.ndarray, detections: Detections, *, tag: bool = True) -> np.ndarray:
    """A copy of the frame with its boxes, labels and a tag saying whether it was a keyframe.

    Args:
        image: ``(H, W, 3)`` uint8 BGR.
        detections: what was found in it; boxes in its pixels.
        tag: write the kind and the feature's age in the lower left corner.
    Returns:
        ``(H, W, 3)`` uint8 BGR.
    """
    canvas = image.copy()
    height_px, width_px = canvas.shape[:2]
    shorter = min(height_px, width_px)
    line_px = max(2 if shorter >= 200 else 1, round(shorter / 240))
    scale = max(0.35, shorter / 900)
    corners = np.round(detections.boxes.with_corners("inclusive").xyxy_px).astype(int).tolist()
    colors = [_COLORS_BGR[int(label) % len(_COLORS_BGR)] for label in detections.labels]
    for (x1, y1, x2, y2), color in zip(corners, colors, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, line_px, cv2.LINE_AA)
    plates: list[_Plate] = []
    for index, (x1, y1, _, _) in enumerate(corners):  # best score first
        text = f"{detections.label_names[index]} {detections.scores[index]:.2f}"
        _label(canvas, text, x1 - line_px // 2, y1, scale, colors[index], plates)
    if tag:
        propagated = detections.kind == "propagated"
        text = f"propagated +{detections.feature_age}" if propagated else detections.kind
        color = (70, 70, 70) if propagated else (0, 140, 255)
        _label(canvas, text, 0, height_px, scale * 0.9, color, [])
    return canvas


def _label(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    scale: float,
    color_bgr: tuple[int, int, int],
    plates: list[_Plate],
) -> None:
    """Text on a filled plate whose lower left corner is (x, y), moved to lie inside the picture.

    Left out where it would cover one of ``plates``, to which it is added otherwise: in a crowd the best stay readable.
    """
    height_px, width_px = canvas.shape[:2]
    thickness = 1 if scale < 0.9 else 2
    (text_w, text_h), below = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = max(2, round(text_h * 0.35))
    plate_w, plate_h = text_w + 2 * margin, text_h + 2 * margin
    left = max(0, min(x, width_px - plate_w))
    top = max(0, min(y - plate_h, height_px - plate_h))
    if any(left < x2 and x1 < left + plate_w and top < y2 and y1 < top + plate_h for x1, y1, x2, y2 in plates):
        return
    plates.append((left, top, left + plate_w, top + plate_h))
    cv2.rectangle(canvas, (left, top), (left + plate_w, top + plate_h), color_bgr, cv2.FILLED)
    blue, green, red = color_bgr
    bright = 0.114 * blue + 0.587 * green + 0.299 * red > 140
    baseline = top + plate_h - margin - min(below, margin) // 3
    cv2.putText(canvas, text, (left + margin, baseline), _FONT, scale, _INK_BGR[bright], thickness, cv2.LINE_AA)
