"""Which frames are keyframes: one small interface; a fixed interval, or motion, behind it."""

from __future__ import annotations

from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler
from lsts_edge.runtime.schedulers.motion import MotionInterval

__all__ = ["Decision", "FixedInterval", "FrameInfo", "MotionInterval", "Scheduler"]
