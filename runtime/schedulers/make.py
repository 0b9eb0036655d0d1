"""The schedule that a way of a bundle asks for."""

from __future__ import annotations

from lsts_edge.bundle.propagation import PropagationWay
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Scheduler
from lsts_edge.runtime.schedulers.motion import MotionInterval

__all__ = ["make_scheduler"]


def make_scheduler(way: PropagationWay) -> Scheduler:
    """Keyframes at the way's interval; sooner after motion, where its parameter ``most_motion`` is above 0.

    Raises:
        OptionError: if a number is out of range.
    """
    if way.most_motion is None:
        return FixedInterval(way.keyframe_interval)
    return MotionInterval(way.keyframe_interval, way.most_motion)
