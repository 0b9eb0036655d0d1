"""The keyframe in the middle of its segment, for files: frames before it are built on it as those after are."""

from __future__ import annotations

from lsts_edge.errors import OptionError
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler

__all__ = ["Centred"]


class Centred(Scheduler):
    """Segments of ``interval`` frames around a keyframe each: no frame is further from it than half of them.

    It cannot decide frame by frame: ``Detector.run`` reads a segment ahead, ``Detector.push`` refuses.
    """

    def __init__(self, interval: float) -> None:
        """Remember the interval.

        Args:
            interval: 1 to 1000 frames, whole.
        """
        if not 1 <= interval <= 1000 or interval != int(interval):  # false for NaN too
            expected = "a whole number, 1..1000 frames"
            raise OptionError("centred keyframe interval", got=interval, expected=expected, fix="Use 10 if unsure.")
        self.interval = int(interval)

    def decide(self, info: FrameInfo) -> Decision:
        """Refuse: the middle of a segment is known when its end is.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "schedule centred", got="frames one at a time", expected="a file", fix="Use run, or another schedule."
        )

    def for_stream(self) -> Centred:
        """Itself: it keeps nothing."""
        return self
