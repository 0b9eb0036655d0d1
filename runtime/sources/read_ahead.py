"""Reads a source in a thread, a few frames ahead: decoding goes on beside detection, and every frame still comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from lsts_edge.errors import OptionError, StateError
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["ReadAhead"]

_POLL_S = 0.2  # who waits looks this often whether it was asked to stop: a signal handler may not touch a lock
_JOIN_S = 1.0
_WAITING_BYTES = 64 << 20  # of pictures that wait, if there is more than one

_Taken = tuple[Frame, int, int]  # a frame, and how much its source had lost and how often found again by then


class ReadAhead(Source):
    """Another source's frames as it gives them: the same order and counts, its error or end behind the last of them."""

    def __init__(self, source: Source, depth: int = 4) -> None:
        """Wrap a source; the thread starts with the iteration and closes the source when it ends.

        Args:
            source: any source.
            depth: frames that may wait, at least 1; fewer large ones, which take 64 MiB together.
        Raises:
            OptionError: if ``depth`` is below 1.
        """
        if depth < 1:
            raise OptionError("queue depth", got=depth, expected="at least 1", fix="Use 2.")
        self.name, self.skipped, self.frame_count = source.name, source.skipped, source.frame_count
        self.rate_fps, self.live, self.facts = source.rate_fps, source.live, source.facts
        self._source = source
        self._depth = depth
        self._waiting: deque[_Taken] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._left = False  # nobody will take what is read
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """End the iteration soon."""
        self.stopping = True
        self._leave()

    def close(self) -> None:
        """Stop the thread; one that waits for a silent camera ends by itself at the source's read timeout."""
        waited = self.closed  # once is enough for a thread that is stuck
        super().close()
        self._leave()
        if self._thread is None:
            self._source.close()
        elif not waited:
            with self._changed:
                self._changed.notify_all()
            self._thread.join(_JOIN_S)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; an error of the source is raised here once its last frame is out.

        Raises:
            StateError: if it has been iterated over before.
        """
        if self._thread is not None:
            got, fix = "a second iteration", "Open the source again."
            raise StateError(f"reading {self.name} again", got=got, expected="one iteration", fix=fix)
        thread = threading.Thread(target=self._read, name=f"reader of {self.name}", daemon=True)
        thread.start()
        self._thread = thread
        try:
            while (taken := self._take()) is not None:
                frame, self.lost, self.reconnects = taken
                yield frame
            error, self._error = self._error, None
            try:
                if error is not None and not self.stopping:
                    raise error
            finally:
                del error  # it holds this frame, which would hold it, and a closed decoder with it
        finally:
            self._leave()  # whoever breaks off need not close the source for the thread to end

    def _take(self) -> _Taken | None:
        """The frame that has waited longest; None where no more will come, or none is wanted."""
        while not self.stopping:
            with self._changed:
                if not self._waiting and not self._ended:
                    self._changed.wait(_POLL_S)
                if self._waiting:
                    self._changed.notify_all()
                    return self._waiting.popleft()
                if self._ended:
                    self.lost = self._source.lost
                    break
        return None

    def _leave(self) -> None:
        self._left = True
        self._source.stop()

    def _read(self) -> None:
        try:
            for frame in self._source:
                with self._changed:
                    self._add((frame, self._source.lost, self._source.reconnects))
                    self._changed.notify_all()
                if self._left:
                    break
        except BaseException as error:  # handed to the consumer's thread, which raises it
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _add(self, taken: _Taken) -> None:
        """Let it wait, once there is room; called with the lock."""
        while self._is_full(taken[0]) and not self._left:
            self._changed.wait(_POLL_S)
        self._waiting.append(taken)

    def _is_full(self, frame: Frame) -> bool:
        waiting_bytes = sum(one.image.nbytes for one, *_ in self._waiting)
        too_much = len(self._waiting) >= self._depth or waiting_bytes + frame.image.nbytes > _WAITING_BYTES
        return too_much and bool(self._waiting)
