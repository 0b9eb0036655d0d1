"""Progress on a terminal: one line that is rewritten, or a line for each step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from lsts_edge.progress import Progress, silent

__all__ = ["echo_progress", "rewritten_line"]

_EVERY_S = 0.2


def echo_progress(what: str, done: int = 0, total: int = 0, /) -> None:
    """Print a line for each step to the standard error output, counted where the work counts."""
    click.echo(f"[{done}/{total}] {what}" if total else what, err=True)


@contextmanager
def rewritten_line(stream: TextIO) -> Iterator[Progress]:
    """Shows on one line how far a long run is; ``silent`` where the stream is no terminal, as nobody watches.

    It writes at most five times a second, so it takes no part in what is timed.
    """
    if not stream.isatty():
        yield silent
        return
    last = [0.0]

    def show(what: str, done: int = 0, total: int = 0, /) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < _EVERY_S:
            return
        last[0] = now
        stream.write(f"\r\x1b[K{what}: {done} of {total}" if total else f"\r\x1b[K{what}")
        stream.flush()

    try:
        yield show
    finally:
        stream.write("\r\x1b[K")
        stream.flush()
