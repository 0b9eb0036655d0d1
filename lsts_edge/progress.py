"""How long work says how far it is: the one type of such a callback, and two ready ones."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "renamed", "silent"]


class Progress(Protocol):
    """Called with what is being done and, where it can be counted, how many of how many are done.

    ``total`` 0 says that nobody counts. A callback may raise to end the work.
    """

    def __call__(self, what: str, done: int = 0, total: int = 0, /) -> None:
        """Told of a step as it starts, or of a count as it grows."""


def silent(what: str, done: int = 0, total: int = 0, /) -> None:
    """Nobody watches."""


def renamed(progress: Progress, what: str) -> Progress:
    """The same watcher, told ``what`` instead of the worker's own words: whose frames these are, say."""

    def told(_: str, done: int = 0, total: int = 0, /) -> None:
        progress(what, done, total)

    return told
