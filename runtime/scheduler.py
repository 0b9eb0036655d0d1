"""Decides which frames are keyframes, from what is known about the stream and a clock that is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lsts_edge.errors import OptionError

__all__ = ["Decision", "FixedInterval", "FrameInfo", "Scheduler"]


@dataclass(frozen=True)
class FrameInfo:
    """What a scheduler may go by. A scheduler reads no clock: ``now_s`` is monotonic time, given by the caller.

    ``frame`` counts from the start of the stream, ``feature_age`` is the number of frames since the last keyframe
    (1 on the frame after it), ``time_s`` the frame's own time stamp where it has one.
    """

    frame: int
    feature_age: int
    time_s: float | None
    now_s: float


@dataclass(frozen=True)
class Decision:
    """Keyframe or not, and why in a word or two."""

    keyframe: bool
    why: str


class Scheduler(Protocol):
    """Asked once for each frame that has a memory to build on; frames without one are always ``first``."""

    def decide(self, info: FrameInfo) -> Decision:
        """Say whether this frame is a keyframe."""


@dataclass(frozen=True)
class FixedInterval:
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
