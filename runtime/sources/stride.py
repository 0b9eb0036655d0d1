"""Every n-th frame of a source, for who needs fewer than the camera gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["EveryNth"]


class EveryNth(Source):
    """Frames 0, n, 2 n, ... of another source; damage in the ones left out is told as loss before the next."""

    def __init__(self, source: Source, n: int) -> None:
        """Wrap a source, which is closed with this one.

        Args:
            source: any.
            n: at least 1.
        """
        self.name, self.live, self.skipped = source.name, source.live, source.skipped
        self.facts = source.facts
        self.rate_fps = None if source.rate_fps is None else source.rate_fps / n
        self.frame_count = None if source.frame_count is None else -(-source.frame_count // n)
        self._source, self._n = source, n

    def stop(self) -> None:
        """End the iteration soon."""
        super().stop()
        self._source.stop()

    def close(self) -> None:
        """Close the other source."""
        super().close()
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the chosen frames."""
        lost_before = 0
        for count, frame in enumerate(self._source):
            self.lost, self.reconnects = self._source.lost, self._source.reconnects
            if count % self._n:
                lost_before += frame.lost_before + frame.damaged
                continue
            yield dataclasses.replace(frame, index=count // self._n, lost_before=frame.lost_before + lost_before)
            lost_before = 0
        self.lost = self._source.lost
