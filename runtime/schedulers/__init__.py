"""Which frames are keyframes: one small interface, and a fixed interval behind it."""

from __future__ import annotations

from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler

__all__ = ["Decision", "FixedInterval", "FrameInfo", "Scheduler"]
