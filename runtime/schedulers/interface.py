"""What a scheduler is asked, told and answers: keyframe or not, from what is known about the stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Decision", "FrameInfo", "Scheduler"]


@dataclass(frozen=True)
class FrameInfo:
    """What a scheduler may go by. It reads no clock: times are monotonic seconds, given by the caller.

    Attributes:
        frame: counts from the start of the stream.
        feature_age: frames since the last keyframe, 1 on the frame after it.
        time_s: the frame's own time stamp, where it has one.
        now_s: when the question is asked.
        arrived_s: when the source had the frame; ``now_s`` where it does not say.
        dropped_before: frames left out just before this one.
        keyframe_ms: what the last keyframe took, frame to boxes; None before the first.
        propagated_ms: the same of the last propagated frame.
        signals: what the networks said about the last frame, by meaning, as far as the bundle names any.
    """

    frame: int
    feature_age: int
    time_s: float | None
    now_s: float
    arrived_s: float | None = None
    dropped_before: int = 0
    keyframe_ms: float | None = None
    propagated_ms: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """Keyframe or not, and why in a word or two."""

    keyframe: bool
    why: str


class Scheduler(ABC):
    """The policy of one stream: asked once for each frame that has a memory to build on; others are always ``first``.

    A subclass need only give ``decide`` and ``for_stream``.
    """

    @abstractmethod
    def decide(self, info: FrameInfo) -> Decision:
        """Say whether this frame is a keyframe."""

    @abstractmethod
    def for_stream(self) -> Scheduler:
        """One for another stream, with the same options and nothing learnt; one that keeps nothing may give itself."""

    def on_reset(self, reason: str) -> None:  # noqa: B027  # told, not asked: most need not know
        """The stream's memory was dropped: the next frame is ``first``."""

    def on_drop(self, frames: int) -> None:  # noqa: B027
        """So many frames were left out, since the last frame that was run, because the device was slow."""
