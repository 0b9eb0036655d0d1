"""Keeps a live source current: a slow consumer costs frames, never memory or delay."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.read_ahead import ReadAhead

__all__ = ["DropOldest"]


class DropOldest(ReadAhead):
    """Reads another source in a thread and hands out its newest ``depth`` frames; older ones are dropped."""

    def __init__(self, source: Source, depth: int = 2) -> None:
        """Wrap a source, as ``ReadAhead`` does; how many frames it will give is not known."""
        super().__init__(source, depth)
        self.frame_count = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frames, as ``ReadAhead`` does."""
        for index, frame in enumerate(super().__iter__()):
            yield dataclasses.replace(frame, index=index)

    def _add(self, taken: tuple[Frame, int, int]) -> None:
        self._waiting.append(taken)
        if len(self._waiting) > self._depth:
            dropped, *_ = self._waiting.popleft()
            self.dropped += 1
            head, *counts = self._waiting[0]  # what went before a dropped frame went before the next one
            head = dataclasses.replace(
                head,
                lost_before=head.lost_before + dropped.lost_before,
                dropped_before=head.dropped_before + dropped.dropped_before + 1,
            )
            self._waiting[0] = (head, counts[0], counts[1])
