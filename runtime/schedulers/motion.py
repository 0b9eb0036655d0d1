"""A keyframe as soon as what was found has moved far enough, and at the latest after an interval."""

from __future__ import annotations

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler

__all__ = ["BOX_MOTION", "MotionInterval"]

BOX_MOTION = "box_motion"
"""Signal of ways that move boxes: how far those that count moved in a frame, as a share of their size."""


class MotionInterval(Scheduler):
    """Detects where it is needed: moved boxes are the less true the further they have been moved.

    The motion of the frames since the last keyframe is added up. While nothing moves, the interval alone decides, so
    that what is new in the picture is found in time.
    """

    def __init__(self, interval: float, most_motion: float) -> None:
        """Begin a stream.

        Args:
            interval: from keyframe to keyframe at most, 1 to 1000 frames.
            most_motion: a keyframe is due once boxes have moved by more than this share of their size.
        """
        self._longest = FixedInterval(interval)
        check_kind("most motion", most_motion, float)
        if not 0 < most_motion <= 100:
            fix = "Use 0.1, or a fixed interval."
            raise OptionError("most motion", got=most_motion, expected="above 0, at most 100 box sizes", fix=fix)
        self.interval = interval
        self.most_motion = most_motion
        self._moved = 0.0

    def decide(self, info: FrameInfo) -> Decision:
        """A keyframe after enough motion, or enough frames."""
        self._moved += info.signals.get(BOX_MOTION, 0.0)  # of the frame before; a keyframe says nothing
        decision = self._longest.decide(info)
        if not decision.keyframe and self._moved > self.most_motion:
            decision = Decision(True, "motion")
        if decision.keyframe:
            self._moved = 0.0
        return decision

    def for_stream(self) -> MotionInterval:
        """One that begins."""
        return MotionInterval(self.interval, self.most_motion)

    def on_reset(self, reason: str) -> None:
        """The next frame is the first of a memory."""
        self._longest.on_reset(reason)
        self._moved = 0.0
