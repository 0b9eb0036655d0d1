"""What a scheduler is asked and answers: keyframe or not, from what is known about the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Decision", "FrameInfo", "Scheduler"]


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
