"""Writes into a pipe, socket or device whose reader may be slow: it is waited for while the run goes on."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from lsts_edge.runtime.sinks.socket_address import SocketAddress

__all__ = ["PatientWriter"]

PATIENCE_S = 10.0
_POLL_S = 0.1  # who waits looks this often whether the run is to end
_PIECE_BYTES = select.PIPE_BUF  # a pipe that takes anything takes so much


class PatientWriter:
    """Whole texts, or bytes, to a descriptor, unbuffered.

    A pipe's reader has all the time it likes; a socket's, which may be a machine that is gone, ``patience_s``.
    """

    def __init__(
        self, target: Path | TextIO | SocketAddress, stopping: Callable[[], bool], patience_s: float = PATIENCE_S
    ) -> None:
        """Open it, waiting for the reader of a FIFO.

        Args:
            target: a path, a socket that somebody listens on, or a file with a descriptor, which stays open.
            stopping: asked while it waits.
            patience_s: how long a socket's reader may take nothing at all.
        Raises:
            OSError: if it cannot be opened, or has no descriptor.
        """
        self._stopping = stopping
        self._patience_s = patience_s if isinstance(target, SocketAddress) else math.inf
        self._owned = isinstance(target, (Path, SocketAddress))
        self._fd: int | None
        if isinstance(target, SocketAddress):
            self._fd = target.connect()
        elif isinstance(target, Path):
            self._fd = _opened(target, stopping)
        else:
            target.flush()
            self._fd = target.fileno()
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)

    def write(self, text: str | bytes) -> bool:
        """Write all of it; False where the run was to end before its reader had taken it, and after ``close``.

        Raises:
            OSError: if it cannot be written, or a socket's reader has taken nothing for too long.
        """
        content = memoryview(text.encode() if isinstance(text, str) else text)
        taken_s = time.monotonic()
        while content:
            if self._fd is None:
                return False
            if not self._poll.poll(_POLL_S * 1000):
                if self._stopping():
                    return False
                if time.monotonic() - taken_s >= self._patience_s:
                    raise TimeoutError(f"its reader took nothing for {self._patience_s:g} s")
                continue
            taken_s = time.monotonic()
            with contextlib.suppress(BlockingIOError):  # a socket that has less room than its poll promised
                content = content[os.write(self._fd, content[:_PIECE_BYTES]) :]
        return True

    def close(self) -> None:
        """Close what was opened here.

        Raises:
            OSError: if what was written gets lost.
        """
        fd, self._fd = self._fd, None
        if self._owned and fd is not None:
            os.close(fd)


def _opened(path: Path, stopping: Callable[[], bool]) -> int | None:
    """A descriptor; None where a FIFO had no reader before the run was to end."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY
    with contextlib.suppress(FileNotFoundError):  # a link to nothing yet
        if stat.S_ISFIFO(path.stat().st_mode):
            while not stopping():
                try:
                    fd = os.open(path, flags | os.O_NONBLOCK)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    time.sleep(_POLL_S)
                    continue
                os.set_blocking(fd, True)
                return fd
            return None
    return os.open(path, flags | os.O_CREAT | os.O_TRUNC, 0o666)
