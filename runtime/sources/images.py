"""A source of the pictures in a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from lsts_edge.errors import StreamEmpty, StreamUnreadable
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["ImageFolder"]

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFolder(Source):
    """The pictures of a folder in the order of their names; sizes may differ, unreadable ones are counted as lost."""

    def __init__(self, folder: Path, *, rate_fps: float = 25.0) -> None:
        """List the pictures.

        Args:
            folder: holds .jpg, .png, .bmp, .webp, .tif, .ppm or .pgm files; others are ignored.
            rate_fps: the rate their time stamps follow.
        Raises:
            StreamEmpty: if the folder has none.
        """
        self.name = str(folder)
        self.rate_fps = rate_fps
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES and path.is_file())
        self.frame_count = len(self._paths)
        self._step_s = 1.0 / rate_fps
        if not self._paths:
            raise StreamEmpty(
                f"no pictures in {folder}", got="none", expected=", ".join(_IMAGES), fix="Give a folder of pictures."
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yield each readable picture.

        Raises:
            StreamUnreadable: if none of them can be read.
        """
        index, lost_before = 0, 0
        for position, path in enumerate(self._paths):
            if self.stopping:
                return
            begin = time.perf_counter_ns()
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                lost_before += 1
                self.lost += 1
                continue
            decode_ms = (time.perf_counter_ns() - begin) / 1e6
            yield Frame(image, index, position * self._step_s, lost_before=lost_before, decode_ms=decode_ms)
            index, lost_before = index + 1, 0
        if index == 0:
            raise StreamUnreadable(
                f"pictures in {self.name}", got=f"{self.lost} unreadable", expected="pictures", fix="Check the files."
            )
