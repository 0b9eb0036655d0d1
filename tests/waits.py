"""The waits that a thread is granted from a moment on, added up: how late it may end, however busy the machine is."""

from __future__ import annotations

import math
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

__all__ = ["Waits"]


class Waits:
    """Watches every wait of the thread that makes it: sleeps, conditions, joins, polls.

    Attributes:
        granted_s: the longest that they may have taken since ``start``, the one that was under way included; infinite
            where one had no limit.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of what waits, until the test ends."""
        self.granted_s = 0.0
        self._thread, self._started = threading.get_ident(), False
        self._when: Callable[[], bool] = lambda: False
        self._then: Callable[[], object] = lambda: None
        for owner, name, place in (
            (time, "sleep", 0),
            (threading.Condition, "wait", 1),
            (threading.Thread, "join", 1),
            (select, "select", 3),
        ):
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name), place))
        monkeypatch.setattr(select, "poll", lambda real=select.poll: _Poll(real(), self))

    def start(self) -> None:
        """Count from here."""
        self._started = True

    def at_a_wait(self, when: Callable[[], bool], then: Callable[[], object]) -> None:
        """Do something, once, in the middle of the first wait at which something is so, and count from there."""
        self._when, self._then = when, then

    def begin(self, limit_s: float | None) -> None:
        """A wait of at most so long."""
        if threading.get_ident() != self._thread:
            return
        if not self._started and self._when():
            self.start()
            self._then()
        if self._started:
            self.granted_s += math.inf if limit_s is None else limit_s

    def _watched(self, real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def wait(*words: Any, **named: Any) -> Any:
            self.begin(words[place] if len(words) > place else named.get("timeout"))
            return real(*words, **named)

        return wait


class _Poll:
    """``select.poll``, watched."""

    def __init__(self, real: Any, waits: Waits) -> None:
        self._real, self._waits = real, waits
        self.register, self.unregister = real.register, real.unregister

    def poll(self, limit_ms: float | None = None) -> Iterable[tuple[int, int]]:
        self._waits.begin(None if limit_ms is None else limit_ms / 1000)
        return self._real.poll(limit_ms)  # type: ignore[no-any-return]
