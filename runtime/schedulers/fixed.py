"""A keyframe every so many frames."""

from __future__ import annotations

import math

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler

__all__ = ["FixedInterval"]


class FixedInterval(Scheduler):
    """A keyframe every ``interval`` frames, counted in frames whatever the time stamps say.

    Between whole numbers two gaps take turns so that their mean is the interval: 2.5 is 2, 3, 2, 3 frames.
    """

    def __init__(self, interval: float) -> None:
        """Begin a stream.

        Args:
            interval: 1 to 1000 frames.
        """
        check_kind("keyframe interval", interval, float)
        if not 1 <= interval <= 1000:
            raise OptionError(
                "keyframe interval", got=interval, expected="1..1000 frames", fix="Use the preset's 10 if unsure."
            )
        self.interval = interval
        self._keyframes = 0  # since the first frame of the memory

    def decide(self, info: FrameInfo) -> Decision:
        """A keyframe when as many frames have passed since the last one."""
        gap = math.floor((self._keyframes + 1) * self.interval) - math.floor(self._keyframes * self.interval)
        if info.feature_age < gap:
            return Decision(False, "within interval")
        self._keyframes += 1
        return Decision(True, "interval")

    def for_stream(self) -> FixedInterval:
        """One that begins."""
        return FixedInterval(self.interval)

    def on_reset(self, reason: str) -> None:
        """The next frame is the first of a memory."""
        self._keyframes = 0
