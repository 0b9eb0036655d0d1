"""Progress on a terminal: one line that is rewritten; nothing where the stream is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["console_progress"]

_EVERY_S = 0.2


@contextmanager
def console_progress(stream: TextIO) -> Iterator[Callable[[str, int, int], None] | None]:
    """A function (phase, done, all) that shows how far a long run is; None where nobody watches.

    It writes at most five times a second, so it takes no part in what is timed.
    """
    if not stream.isatty():
        yield None
        return
    last = [0.0]

    def show(phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < _EVERY_S:
            return
        last[0] = now
        stream.write(f"\r\x1b[K{phase}: {done} of {total}")
        stream.flush()

    try:
        yield show
    finally:
        stream.write("\r\x1b[K")
        stream.flush()
