"""A clock that moves only when something sleeps, in place of the modules' own: exact times on any machine."""

from __future__ import annotations

import importlib

import pytest

__all__ = ["PlantedTime", "plant_time"]


class PlantedTime:
    """What the modules under test use of ``time``."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        """Nanoseconds slept so far."""
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Let the clock move; nobody waits."""
        self.now_ns += round(seconds * 1e9)


def plant_time(monkeypatch: pytest.MonkeyPatch, *modules: str) -> PlantedTime:
    """Give these modules one clock; everything that does not sleep takes no time on it."""
    clock = PlantedTime()
    for module in modules:
        monkeypatch.setattr(importlib.import_module(module), "time", clock)
    return clock
