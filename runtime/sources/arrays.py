"""A source of frames that are already arrays: procedural clips, tests, somebody's own reader."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sized

import numpy as np

from lsts_edge.errors import OptionError, StreamEmpty
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["ArraySource"]


class ArraySource(Source):
    """Frames that are already arrays, evenly spaced in time: procedural clips, tests, somebody's own reader."""

    def __init__(self, frames: Iterable[np.ndarray], *, rate_fps: float = 25.0, name: str = "arrays") -> None:
        """Keep the iterable; it is read once.

        Args:
            frames: ``(H, W, 3)`` uint8 BGR each.
            rate_fps: frames per second, above 0.
            name: for messages.
        Raises:
            OptionError: if the rate is not above 0.
        """
        check_kind("frames", frames, Iterable)
        check_kind("frame rate", rate_fps, float)
        if not 0 < rate_fps < math.inf:
            raise OptionError("frame rate", got=rate_fps, expected="above 0", fix="Correct it.")
        self.name = name
        self.rate_fps = rate_fps
        self.frame_count = len(frames) if isinstance(frames, Sized) else None
        self._frames = frames
        self._step_s = 1.0 / rate_fps

    def __iter__(self) -> Iterator[Frame]:
        """Yield each array as a frame.

        Raises:
            StreamEmpty: if there is none.
        """
        index = -1
        begin = time.perf_counter_ns()
        for index, image in enumerate(self._frames):
            if self.stopping:
                return
            yield Frame(image, index, index * self._step_s, decode_ms=(time.perf_counter_ns() - begin) / 1e6)
            begin = time.perf_counter_ns()
        if index < 0:
            raise StreamEmpty(f"{self.name} gave no frame", got="0 frames", expected="at least 1", fix="Give frames.")
