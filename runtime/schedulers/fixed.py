"""A keyframe every so many frames."""

from __future__ import annotations

from dataclasses import dataclass

from lsts_edge.errors import OptionError
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler

__all__ = ["FixedInterval"]


@dataclass(frozen=True)
class FixedInterval(Scheduler):
    """A keyframe every ``interval`` frames, counted in frames whatever the time stamps say."""

    interval: int

    def __post_init__(self) -> None:
        if not 1 <= self.interval <= 1000:
            raise OptionError(
                "keyframe interval", got=self.interval, expected="1..1000 frames", fix="Use the preset's 10 if unsure."
            )

    def decide(self, info: FrameInfo) -> Decision:
        """A keyframe when ``interval`` frames have passed since the last one."""
        if info.feature_age >= self.interval:
            return Decision(True, "interval")
        return Decision(False, "within interval")

    def for_stream(self) -> FixedInterval:
        """Itself: it keeps nothing."""
        return self
