"""How a coded picture is shown: turned and mirrored by its display matrix, stretched by its sample aspect ratio."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from lsts_edge.runtime.sources.interface import MAX_SIDE_PX

__all__ = ["Orientation", "display_size"]

_EXTREME = 16  # a sample this much wider than high, or the other way round, is a damaged tag

_NAMES = {
    (False, False, False): "upright",
    (True, False, True): "turned by 90 degrees to the left",
    (False, True, True): "turned by 180 degrees",
    (True, True, False): "turned by 90 degrees to the right",
    (False, True, False): "mirrored",
    (False, False, True): "mirrored, top to bottom",
    (True, False, False): "mirrored, along a diagonal",
    (True, True, True): "mirrored, along the other diagonal",
}


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways a picture can lie; the steps are done in this order.

    Attributes:
        transposed: rows become columns.
        mirrored: left and right change places.
        flipped: top and bottom change places.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @classmethod
    def of_matrix(cls, content: bytes) -> Orientation:
        """The orientation nearest to a display matrix, whose scale and shift say nothing about how a picture lies.

        ``x_shown = a x + c y`` and ``y_shown = b x + d y``, the matrix being ``[a, b, u, c, d, v, x, y, w]``.
        Source: ISO/IEC 14496-12, 8.2.2 and 8.3.2.

        Args:
            content: nine int32 of this machine's byte order, as FFmpeg gives them; what is shorter says nothing.
        """
        if len(content) < 36:
            return cls()
        a, b, _, c, d = (int(value) for value in np.frombuffer(content, np.int32, 5))
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @classmethod
    def of_turn(cls, degrees: int) -> Orientation:
        """Turned counter-clockwise by the multiple of 90 degrees that is nearest to ``degrees``."""
        return (cls(), cls(True, False, True), cls(False, True, True), cls(True, True, False))[round(degrees / 90) % 4]

    @property
    def name(self) -> str:
        """In words, for people."""
        return _NAMES[self.transposed, self.mirrored, self.flipped]

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The picture as it is shown, contiguous; the same array where nothing is to be done."""
        if self.transposed:
            image = cv2.transpose(image)
        if self.mirrored or self.flipped:
            image = cv2.flip(image, -1 if self.mirrored and self.flipped else int(self.mirrored))
        return image


def display_size(height_px: int, width_px: int, sample_aspect: Fraction | None) -> tuple[int, int] | None:
    """Height and width in square pixels, before any turn: the side that is too short grows, so no pixel is lost.

    Args:
        height_px: as coded.
        width_px: as coded.
        sample_aspect: width of a sample over its height; None or 0 says nothing.
    Returns:
        None where the ratio is extreme or a side would be longer than a detector takes: the tag cannot be meant.
    """
    if not sample_aspect or sample_aspect == 1:
        return height_px, width_px
    if not Fraction(1, _EXTREME) <= sample_aspect <= _EXTREME:
        return None
    if sample_aspect > 1:
        width_px = round(width_px * sample_aspect)
    else:
        height_px = round(height_px / sample_aspect)
    return (height_px, width_px) if max(height_px, width_px) <= MAX_SIDE_PX else None
