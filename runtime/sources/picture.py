"""One picture file as a frame's image: any name, upright by EXIF, in 8 bits, or why it is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lsts_edge.read_file import read_file
from lsts_edge.runtime.sources.interface import MAX_SIDE_PX

__all__ = ["PICTURES", "read_picture", "shown_name"]

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".gif"),
)
_DARK = 4096  # 16-bit pictures whose values stay below come from 12-bit sensors


def read_picture(path: Path) -> tuple[np.ndarray | None, str]:
    """Read a picture; OpenCV is given the bytes, for it crashes on names that are not UTF-8.

    Args:
        path: of a file; 16-bit values lose their lower 8 bits, of an animation the first picture is taken.
    Returns:
        ``(H, W, 3)`` uint8 BGR, or None; and what there is to say: why there is none, or what is odd about it.
    """
    image: Any = None
    try:
        content = np.frombuffer(read_file(path), np.uint8)
        if content.size:
            image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except (OSError, ValueError, cv2.error) as error:  # the last for more pixels than OpenCV decodes
        return None, getattr(error, "strerror", None) or "cannot be decoded"
    if image is None:
        return None, "no picture"
    if max(image.shape[:2]) > MAX_SIDE_PX:
        return None, f"a side over {MAX_SIDE_PX} pixels"
    if image.dtype == np.uint16:
        dark = image.max() < _DARK
        told = "12 bits or less in 16, which is nearly black: scale its values by 16" if dark else ""
        return (image >> 8).astype(np.uint8), told
    return (image, "") if image.dtype == np.uint8 else (None, f"{image.dtype} values")


def shown_name(name: str) -> str:
    """A file name as valid text: bytes that are not UTF-8 as backslash, x and two digits."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
