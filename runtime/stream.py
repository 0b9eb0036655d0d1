"""What is known of a stream without running anything: gaps, losses, damage, ages, and why its memory was dropped."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Literal

from lsts_edge.bundle.programs import FrameKind
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["ResetReason", "Stream"]

ResetReason = Literal[
    "new-video",
    "size-change",
    "format-change",
    "time-gap",
    "decode-error",
    "reconnect",
    "scene-cut",
    "non-finite",
    "requested",
]

_GAP_S = 2.0
_GAP_INTERVALS = 5


class Stream:
    """Where one stream stands; pure bookkeeping, so that every policy about loss and damage is in one place.

    For each frame: ``arrive``, then the frame is run, then ``settle``. A frame that is not settled, because it could
    not be run, is not counted.

    Attributes:
        frame: index of the frame that is under way, or next, from 0.
        feature_age: frames since the keyframe whose memory the last settled frame used; 0 on a keyframe.
        has_memory: a frame has been remembered since the last reset, so that the next may build on it.
    """

    def __init__(self) -> None:
        self.frame = 0
        self.feature_age = 0
        self.has_memory = False
        self._shape: tuple[int, ...] | None = None
        self._coding: str | None = None
        self._reconnects: int | None = None
        self._tainted = False
        self._pending: str | None = None  # waits for the frame that starts the memory anew
        self._gaps = _GapWatch()

    def arrive(self, frame: Frame) -> str | None:
        """Look at the next frame: why the memory does not fit it, None where it does.

        Packets lost before it, or a damaged picture before it, may have spoilt what later pictures refer to; the
        memory starts afresh at the first good frame. A damaged frame itself gets boxes from the memory as it is, and
        what it says of its coding is not believed.
        """
        reason: ResetReason | None = None
        if not frame.damaged and (self._tainted or frame.lost_before):
            self._tainted = False
            reason = "decode-error"
        if self._gaps.is_gap(frame.time_s):
            reason = "time-gap"
        if not frame.damaged and None not in (self._coding, frame.coding) and self._coding != frame.coding:
            reason = "format-change"
        if self._shape is not None and self._shape != frame.image.shape:
            reason = "size-change"
        if self._reconnects not in (None, frame.reconnects):
            reason = "reconnect"
        self._reconnects = frame.reconnects
        return reason

    def drop(self, reason: str) -> bool:
        """The memory is dropped: the frame that starts it anew states ``reason``.

        Returns:
            Whether there was any. A drop before the first frame of all is no event.
        """
        had_memory = self.has_memory
        if had_memory or self._pending is not None:
            self._pending = reason
        self.has_memory = False
        return had_memory

    def next_video(self) -> None:
        """Frame numbers start at 0 and nothing is carried over, but why the memory was dropped before."""
        pending = self._pending
        self.__init__()  # type: ignore[misc]
        self._pending = pending

    def settle(self, frame: Frame, kind: FrameKind, *, finite: bool) -> str | None:
        """Count a frame that was run; returns the reason that its result states.

        Args:
            frame: as it arrived; a damaged one was not remembered.
            kind: how it was run.
            finite: whether memory and boxes were finite; otherwise nothing of them is kept.
        """
        self.frame += 1
        self._shape = frame.image.shape
        self._coding = self._coding if frame.damaged else frame.coding
        self._tainted = self._tainted or frame.damaged
        self.feature_age = self.feature_age + 1 if kind == "propagated" else 0
        if not finite:  # even from an empty memory: the frame itself gives no finite feature
            self.has_memory = False
            self._pending = None
            return "non-finite"
        self.has_memory = self.has_memory or not frame.damaged
        if kind != "first":
            return None
        if frame.damaged:
            self._pending = self._pending or "decode-error"
            return None
        reason, self._pending = self._pending, None
        return reason


class _GapWatch:
    """Notices time that runs backwards, or a step longer than 2 s and 5 usual frame intervals."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._steps_s: deque[float] = deque(maxlen=5)

    def is_gap(self, time_s: float | None) -> bool:
        last_s, self._last_s = self._last_s, time_s
        if last_s is None or time_s is None:
            return False
        step_s = time_s - last_s
        usual_s = statistics.median(self._steps_s) if self._steps_s else 0.0
        if step_s >= 0:
            self._steps_s.append(step_s)
        return step_s < 0 or step_s > max(_GAP_S, _GAP_INTERVALS * usual_s)
