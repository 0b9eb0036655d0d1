"""Video from a pipe: standard input or a FIFO, every frame, however long its writer pauses."""

from __future__ import annotations

import contextlib
import io
import os
import select
from typing import BinaryIO, cast

from lsts_edge.runtime.sources.video import VideoSource

__all__ = ["PipeSource"]

_POLL_MS = 200  # a read that waits looks this often whether it was asked to stop


class PipeSource(VideoSource):
    """A video that another program writes while it is read; a pause is no fault, the closed pipe is the end."""

    def __init__(self, path: str, *, name: str, stream: int | None = None, decoder_threads: int | None = None) -> None:
        """Open the pipe and wait until there is enough to know the video.

        Args:
            path: a FIFO, or ``-`` for standard input.
            name: for messages.
            stream: as for ``VideoSource``.
            decoder_threads: as for ``VideoSource``.
        Raises:
            StreamUnreadable: if what comes is no video.
        """
        self._reader = _Reader(path)
        try:
            super().__init__(cast(BinaryIO, self._reader), name=name, stream=stream, decoder_threads=decoder_threads)
        except BaseException:
            self._reader.close()
            raise

    def stop(self) -> None:
        """End the iteration soon, in the middle of a pause too."""
        super().stop()
        self._reader.stopping = True

    def close(self) -> None:
        """Close the pipe."""
        super().close()
        self._reader.close()


class _Reader(io.RawIOBase):
    """A file object whose reads wait without an end, and can be asked to stop all the same."""

    stopping = False

    def __init__(self, path: str) -> None:
        """Opening a FIFO does not wait for its writer: that wait could not be stopped."""
        self._fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._owned = path != "-"
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self.stopping:
            if not self._poll.poll(_POLL_MS):  # nothing, and no writer that has gone: Linux tells one from none yet
                continue
            with contextlib.suppress(BlockingIOError):
                return os.read(self._fd, size if size > 0 else 1 << 16)
        return b""

    def close(self) -> None:
        if self._owned and not self.closed:
            os.close(self._fd)
        super().close()
