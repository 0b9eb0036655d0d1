"""One attempt at a live source, in a thread of its own: it can be left behind where a driver never returns."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator

from lsts_edge.errors import StreamError
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["Connection"]

_POLL_S = 0.2  # who waits looks this often whether to stop: a signal handler may not touch a lock
_JOIN_S = 1.0
_OPEN_S = 25.0  # FFmpeg's own limit for an attempt comes first; this one is for drivers that never return
_FIRST_FRAME_S = 15.0  # joining between two keyframes, nothing can be decoded before the second


class Connection:
    """Opens a source and reads it into a place for one frame, which the consumer takes.

    Attributes:
        source: what was opened, None before.
        fault: why it ended, None while it goes on or where the source said that it was at its end.
    """

    def __init__(self, connect: Callable[[], Source], name: str) -> None:
        """Begin at once.

        Args:
            connect: opens the source; it is closed in the same thread.
            name: for the thread.
        """
        self.source: Source | None = None
        self.fault: BaseException | None = None
        self._connect = connect
        self._frame: Frame | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._left = False
        self._thread = threading.Thread(target=self._read, name=f"connection of {name}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether its thread lives: true for one that is stuck in a driver."""
        return self._thread.is_alive()

    def wait_open(self) -> None:
        """Wait until the source is open.

        Raises:
            StreamError: if it cannot be opened, or not in time.
        """
        end_s = time.monotonic() + _OPEN_S
        with self._changed:
            while self.source is None and not self._ended and time.monotonic() < end_s:
                self._changed.wait(_POLL_S)
        self._raise_fault()
        if self.source is None:
            raise _silent("it does not open", _OPEN_S)

    def frames(self, stall_s: float, stopping: Callable[[], bool]) -> Iterator[Frame]:
        """Its frames as they come, to its end or until ``stopping``.

        Args:
            stall_s: longest wait between two frames.
            stopping: asked while it waits.
        Raises:
            StreamError: if it cannot be opened, breaks off or is silent for too long.
        """
        since_s, limit_s, state = time.monotonic(), _OPEN_S, "it does not open"
        while not stopping():
            with self._changed:
                if self._frame is None and not self._ended:
                    self._changed.wait(_POLL_S)
                frame, self._frame = self._frame, None
                self._changed.notify_all()
            if frame is not None:
                yield frame
                since_s, limit_s, state = time.monotonic(), stall_s, "no picture"
            elif self._ended:
                self._raise_fault()
                return
            elif limit_s == _OPEN_S and self.source is not None:
                since_s, limit_s, state = time.monotonic(), max(stall_s, _FIRST_FRAME_S), "no first picture"
            elif time.monotonic() - since_s > limit_s:
                raise _silent(state, limit_s)

    def leave(self) -> None:
        """Let the thread close the source as soon as it can; it is not waited for longer than a second."""
        with self._changed:
            self._left = True
            self._changed.notify_all()
        if self.source is not None:
            self.source.stop()
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        try:
            self._read_all()
        except BaseException as error:  # handed to the consumer's thread, which raises it
            _forget_locals(error)
            self.fault = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_all(self) -> None:
        with self._connect() as source:
            with self._changed:
                self.source = source
                self._changed.notify_all()
            if not self._left:
                for frame in source:
                    if not self._give(frame):
                        break

    def _raise_fault(self) -> None:
        """Raise it once and let go of it: an error that holds its own holder waits for the garbage collector."""
        fault, self.fault = self.fault, None
        try:
            if fault is not None:
                raise fault
        finally:
            del fault

    def _give(self, frame: Frame) -> bool:
        with self._changed:
            while self._frame is not None and not self._left:
                self._changed.wait(_POLL_S)
            self._frame = frame
            self._changed.notify_all()
            return not self._left


def _forget_locals(error: BaseException | None) -> None:
    """Keep an error's lines, and not the decoder and the pictures that its frames still name."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _silent(what: str, timeout_s: float) -> StreamError:
    return StreamError(
        "the source is silent",
        got=f"{what} for {timeout_s:g} s",
        expected="frames",
        fix="Check the camera; --source-option stall_s=SECONDS waits longer.",
    )
