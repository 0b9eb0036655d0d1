"""Animated WebP, which FFmpeg does not read, and how an animation is told from a picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lsts_edge.errors import StreamUnreadable
from lsts_edge.read_file import read_file
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["AnimatedWebP", "animation_kind"]

_HEAD_BYTES = 1 << 16
_WINDOW_BYTES = 256 << 20  # of decoded pictures at a time: a small file may hold very many
_WEBP_ANIMATED = 0x02  # of VP8X's flags; WebP container specification, "Extended file format"


def animation_kind(path: Path) -> str | None:
    """``webp``, ``gif``, ``apng`` or ``avif`` by a file's first bytes; None for anything else, single pictures too."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None  # whoever opens it says why
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        return "webp" if head[20:21] and head[20] & _WEBP_ANIMATED else None
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "apng" if b"acTL" in head.partition(b"IDAT")[0] else None
    return "avif" if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis") else None


class AnimatedWebP(Source):
    """All frames of an animated WebP with their times, a window of them at a time; transparency is left out."""

    def __init__(self, path: Path) -> None:
        """Read the file's bytes.

        Raises:
            StreamUnreadable: if that fails.
        """
        self.name = str(path)
        try:
            self._content = np.frombuffer(read_file(path), np.uint8)
        except OSError as error:
            raise StreamUnreadable(
                f"cannot open {path}", got=error.strerror, expected="an animated WebP", fix="Check the path."
            ) from error
        width_px, height_px = (1 + int.from_bytes(self._content[at : at + 3].tobytes(), "little") for at in (24, 27))
        self._window = min(64, max(1, _WINDOW_BYTES // (4 * width_px * height_px)))

    def __iter__(self) -> Iterator[Frame]:
        """Yield each picture.

        Raises:
            StreamUnreadable: if there is none.
        """
        index, time_s, count = 0, 0.0, self._window
        begin = time.perf_counter_ns()
        while count == self._window and not self.stopping:
            pictures, durations_ms = self._decoded(index)
            count = len(pictures)
            for picture, duration_ms in zip(pictures, durations_ms, strict=True):
                if self.stopping:
                    return
                image = picture if picture.shape[2] == 3 else cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
                yield Frame(image, index, time_s, decode_ms=(time.perf_counter_ns() - begin) / 1e6)
                index, time_s = index + 1, time_s + duration_ms / 1000
                begin = time.perf_counter_ns()
        if index == 0 and not self.stopping:
            raise StreamUnreadable(
                f"{self.name} gave no frame", got="a damaged file", expected="an animated WebP", fix="Get it again."
            )

    def _decoded(self, start: int) -> tuple[list[np.ndarray], list[int]]:
        try:
            found, animation = cv2.imdecodeanimation(self._content, start=start, count=self._window)
        except cv2.error:
            return [], []
        if not found:
            return [], []
        return list(animation.frames), [int(duration) for duration in animation.durations]
