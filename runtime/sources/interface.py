"""A frame of a source, and what every source of frames offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

__all__ = ["MAX_SIDE_PX", "Frame", "Source"]

MAX_SIDE_PX = 16384  # of a frame that a detector takes


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: ``(H, W, 3)`` uint8 BGR, as it is shown: upright, pixels square.
        index: counts delivered frames from 0.
        time_s: the source's time stamp in seconds, None where there is none.
        damaged: the decoder or demuxer says that the picture may be wrong.
        lost_before: packets or pictures since the frame before that gave nothing.
        dropped_before: whole frames left out before this one because the consumer was slow.
        decode_ms: time spent reading, decoding and converting.
        reconnects: how often the source has lost its camera and found it again so far.
        arrived_s: monotonic seconds when the source had the frame; None where it does not say.
        file: name of its own file, valid text; None where a file holds many frames.
        coding: how it was coded, such as pixel format and turn: another text is another mode of the camera. None where
            the source does not say.
    """

    image: np.ndarray
    index: int
    time_s: float | None = None
    damaged: bool = False
    lost_before: int = 0
    dropped_before: int = 0
    decode_ms: float = 0.0
    reconnects: int = 0
    arrived_s: float | None = None
    file: str | None = None
    coding: str | None = None


class Source(ABC):
    """Something to iterate over once, and to close. A subclass of one's own need only give ``__iter__``.

    Attributes:
        name: for messages.
        rate_fps: nominal frame rate, None where the source does not say.
        frame_count: expected number of frames, None where unknown.
        lost: packets or pictures that gave nothing so far, those after the last frame included.
        skipped: files that were left out because they are no pictures.
        dropped: frames left out so far because the consumer was slow.
        reconnects: how often a live source was lost and found again so far.
        live: it happens now: its end is a fault.
        facts: what the source says of its video, such as ``codec``; filled as it becomes known.
        stopping: ``stop`` was called: the iteration is to end.
        closed: ``close`` was called.
    """

    name: str = "source"
    rate_fps: float | None = None
    frame_count: int | None = None
    lost: int = 0
    skipped: int = 0
    dropped: int = 0
    reconnects: int = 0
    live: bool = False
    facts: Mapping[str, Any] = MappingProxyType({})
    stopping: bool = False
    closed: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames to the end of the source; ``StreamEmpty`` if there is none."""

    def stop(self) -> None:
        """Let the iteration end soon, as if the source had ended; safe in a signal handler."""
        self.stopping = True

    def close(self) -> None:
        """Release what the source holds; harmless twice."""
        self.closed = True

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
