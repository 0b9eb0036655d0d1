"""Keeps a live source current: a slow consumer costs frames, never memory or delay."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterator

from lsts_edge.errors import OptionError
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["DropOldest"]

_POLL_S = 0.2  # a waiting consumer looks this often whether it was asked to stop
_JOIN_S = 1.0


class DropOldest(Source):
    """Reads another source in a thread and hands out its newest ``depth`` frames; older ones are dropped."""

    def __init__(self, source: Source, depth: int = 2) -> None:
        """Wrap a source; the thread starts with the iteration and closes the source when it ends.

        Args:
            source: any source.
            depth: frames that may wait, at least 1.
        Raises:
            OptionError: if ``depth`` is below 1.
        """
        if depth < 1:
            raise OptionError("queue depth", got=depth, expected="at least 1", fix="Use 2.")
        self.name, self.skipped = source.name, source.skipped
        self.rate_fps, self.live, self.facts = source.rate_fps, source.live, source.facts
        self._source = source
        self._depth = depth
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """End the iteration soon."""
        self.stopping = True
        self._source.stop()

    def close(self) -> None:
        """Stop the thread; one that waits for a silent camera ends by itself at the source's read timeout."""
        waited = self.closed  # once is enough for a thread that is stuck
        super().close()
        self._source.stop()
        if self._thread is None:
            self._source.close()
        elif not waited:
            self._thread.join(_JOIN_S)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frames; an error of the source is raised here once its last frame is out."""
        self._thread = threading.Thread(target=self._read, name=f"reader of {self.name}", daemon=True)
        self._thread.start()
        index, dropped_told = 0, 0
        while not self.stopping:
            with self._changed:
                if not self._frames and not self._ended:
                    self._changed.wait(_POLL_S)
                if not self._frames:
                    if self._ended:
                        break
                    continue
                frame = self._frames.popleft()
                dropped, dropped_told = self.dropped - dropped_told, self.dropped
            yield dataclasses.replace(frame, index=index, dropped_before=dropped)
            index += 1
        error, self._error = self._error, None
        try:
            if error is not None and not self.stopping:
                raise error
        finally:
            del error  # it holds this frame, which would hold it, and a closed decoder with it

    def _read(self) -> None:
        try:
            for frame in self._source:
                if self.stopping or self.closed:
                    break
                with self._changed:
                    self.reconnects = self._source.reconnects
                    self._add(frame)
                    self._changed.notify_all()
        except BaseException as error:  # handed to the consumer's thread, which raises it
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self.lost = self._source.lost
                self._ended = True
                self._changed.notify_all()

    def _add(self, frame: Frame) -> None:
        self._frames.append(frame)
        if len(self._frames) > self._depth:
            dropped = self._frames.popleft()
            self.dropped += 1
            head = self._frames[0]  # what was lost before a dropped frame was lost before the next one
            self._frames[0] = dataclasses.replace(head, lost_before=head.lost_before + dropped.lost_before)
