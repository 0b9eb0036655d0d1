"""Video from a pipe: standard input or a FIFO, every frame, however long its writer pauses."""

from __future__ import annotations

import contextlib
import io
import os
import select
from collections.abc import Iterator
from typing import BinaryIO, cast

from lsts_edge.errors import StreamEmpty, StreamUnreadable
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.sources.video import VideoSource

__all__ = ["PipeSource"]

_WHOLE_FIX = (
    "An MP4 whose index stands at its end does not go through a pipe: give the file itself, or write MPEG-TS, Matroska "
    "or a fragmented MP4."
)
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
        except StreamUnreadable as error:
            self._reader.close()
            raise self._unreadable(error) from error
        except BaseException:
            self._reader.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        """Yield every picture.

        Raises:
            StreamEmpty: if there is none.
        """
        try:
            yield from super().__iter__()
        except StreamEmpty as error:
            raise StreamEmpty(error.problem, got=error.got, expected="1 or more", fix=_WHOLE_FIX) from error

    def _unreadable(self, error: StreamUnreadable) -> StreamUnreadable:
        if not self._reader.taken_bytes:
            got, fix = "nothing: it was closed before a byte came", "Look at the program that is to write into it."
            return StreamUnreadable(error.problem, got=got, expected="a video", fix=fix)
        got = f"{error.got}, after {self._reader.taken_bytes} bytes"
        return StreamUnreadable(error.problem, got=got, expected="a video from its beginning", fix=_WHOLE_FIX)

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
        self.taken_bytes = 0
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self.stopping:
            if not self._poll.poll(_POLL_MS):  # nothing, and no writer that has gone: Linux tells one from none yet
                continue
            with contextlib.suppress(BlockingIOError):
                content = os.read(self._fd, size if size > 0 else 1 << 16)
                self.taken_bytes += len(content)
                return content
        return b""

    def close(self) -> None:
        if self._owned and not self.closed:
            os.close(self._fd)
        super().close()
