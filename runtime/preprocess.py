"""Turns a frame of any size into the network's image, and boxes back into the frame's pixels."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from lsts_edge.boxes import Boxes, Corners
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import ShapeError
from lsts_edge.runtime.sources.interface import MAX_SIDE_PX

__all__ = ["Geometry", "Preprocessor", "check_frame"]


@dataclass(frozen=True)
class Geometry:
    """How a frame of ``height_px`` x ``width_px`` lies in the network's image.

    ``scale_x`` and ``scale_y`` are network pixels per frame pixel; the frame fills ``inner_height_px`` x
    ``inner_width_px`` from ``top_px`` and ``left_px``, and the rest is padding.
    """

    height_px: int
    width_px: int
    scale_x: float
    scale_y: float
    inner_height_px: int
    inner_width_px: int
    top_px: int = 0
    left_px: int = 0

    def to_frame(self, boxes: Boxes) -> Boxes:
        """What a network found, as it leaves the detector: corners as edges, frame pixels, clipped to the frame.

        Args:
            boxes: in pixels of the network's image, with either corner rule.
        Returns:
            Those that reach into the frame; a box wholly in the padding, or with a NaN, does not.
        """
        return self.place(boxes)[0]

    def place(self, boxes: Boxes) -> tuple[Boxes, np.ndarray]:
        """As ``to_frame``, and which of ``boxes`` reach into the frame, ``(D,)`` bool."""
        shift, scale, size, limit = self._numbers[boxes.corners]
        sides = (boxes.xyxy_px + shift) / scale
        reaches = (sides[:, :2] < size) & (sides[:, 2:] > 0)
        inside = reaches[:, 0] & reaches[:, 1]
        placed = Boxes(np.minimum(np.maximum(sides, 0), limit), boxes.scores, boxes.labels)
        return placed if inside.all() else placed.select(inside), inside

    @functools.cached_property
    def _numbers(self) -> dict[Corners, tuple[np.ndarray, ...]]:
        """By corner rule: what is added to corners to make them edges counted from where the frame begins, the scale,
        and the frame's size once and twice.
        """
        start = np.array([self.left_px, self.top_px] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        size = np.array([self.width_px, self.height_px], np.float32)
        last = np.array([0, 0, 1, 1], np.float32)
        return {
            "edges": (-start, scale, size, np.tile(size, 2)),
            "inclusive": (last - start, scale, size, np.tile(size, 2)),
        }


class Preprocessor:
    """Resizes and pads by the manifest's rule into one buffer that is used again for each frame."""

    def __init__(self, rule: InputInfo) -> None:
        """Keep the rule; nothing is allocated before the first frame."""
        self._rule = rule
        self._geometry: Geometry | None = None  # of the last size asked for
        self._padded: Geometry | None = None  # whose padding the buffer has
        self._buffer = np.empty((1, 0, 0, 3), np.uint8)

    def __call__(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Make the network's image.

        Args:
            frame_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR.
        Returns:
            ``(1, height, width, 3)`` uint8 BGR, valid until the next call, and its geometry.
        Raises:
            ShapeError: if the frame is not a BGR picture of 1 to 16384 pixels a side.
        """
        frame = frame_hwc_bgr_u8
        check_frame(frame)
        geometry = self.geometry(*frame.shape[:2])
        if geometry is not self._padded:
            rule = self._rule
            height, width = rule.height_px, rule.width_px
            if rule.follows_video:
                inner = (geometry.inner_height_px, geometry.inner_width_px)
                height, width = (-(-side // rule.multiple_px) * rule.multiple_px for side in inner)
            self._padded = geometry
            self._buffer = np.full((1, height, width, 3), rule.pad_value, np.uint8)
        top, left = geometry.top_px, geometry.left_px
        place = self._buffer[0, top : top + geometry.inner_height_px, left : left + geometry.inner_width_px]
        size = (geometry.inner_width_px, geometry.inner_height_px)
        cv2.resize(frame, size, dst=place, interpolation=cv2.INTER_LINEAR)
        return self._buffer, geometry

    def geometry(self, height_px: int, width_px: int) -> Geometry:
        """Where a frame of this size lies in the network's image."""
        geometry = self._geometry
        if geometry is None or (geometry.height_px, geometry.width_px) != (height_px, width_px):
            geometry = self._geometry = self._lay(height_px, width_px)
        return geometry

    def _lay(self, height_px: int, width_px: int) -> Geometry:
        rule = self._rule
        if rule.resize == "stretch":
            scale_y, scale_x = rule.height_px / height_px, rule.width_px / width_px
            return Geometry(height_px, width_px, scale_x, scale_y, rule.height_px, rule.width_px)
        letterbox = rule.resize in ("letterbox", "letterbox-centred")
        if letterbox:
            scale = min(rule.height_px / height_px, rule.width_px / width_px)
        else:
            shorter, longer = sorted((rule.height_px, rule.width_px))
            scale = min(shorter / min(height_px, width_px), longer / max(height_px, width_px))
        inner_height = max(1, round(height_px * scale))
        inner_width = max(1, round(width_px * scale))
        if letterbox:
            inner_height, inner_width = min(inner_height, rule.height_px), min(inner_width, rule.width_px)
        top = left = 0
        if rule.resize == "letterbox-centred":  # of an odd number of padding rows the larger half is below
            top, left = (rule.height_px - inner_height) // 2, (rule.width_px - inner_width) // 2
        return Geometry(height_px, width_px, scale, scale, inner_height, inner_width, top, left)


def check_frame(frame: np.ndarray) -> None:
    """Refuse what is no BGR picture.

    Raises:
        ShapeError: if it is not ``(H, W, 3)`` uint8 of 1 to 16384 pixels a side.
    """
    fits = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    if not fits or not all(1 <= side <= MAX_SIDE_PX for side in frame.shape[:2]):
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ShapeError(
            "video frame", got=got, expected=f"uint8 (H, W, 3), sides 1..{MAX_SIDE_PX}", fix="Give BGR pictures."
        )
