"""Where each frame lies in time, by stamps that repeat, jump, run backwards or are missing."""

from __future__ import annotations

__all__ = ["VideoClock"]

_LONGEST_STEP_S = 10.0  # a longer pause is not kept
_LARGEST_STEP_BACK_S = 1.0  # what is less is disorder among neighbours, what is more is a clock that was set
_SHORTEST_STEP_S = 1.0 / 1000


class VideoClock:
    """Seconds since the first frame, always increasing, as long in all as the stamps say.

    A repeated or missing stamp is one usual step after the frame before; where later stamps show that too much was
    guessed they win again. A pause over 10 s, or a clock set back by more than 1 s, is one usual step.
    """

    def __init__(self, step_s: float) -> None:
        """Wait for the first frame.

        Args:
            step_s: usual time from frame to frame, above 0.
        """
        self._step_s = step_s
        self._now_s: float | None = None
        self._stamp_s: float | None = None
        self._offset_s = 0.0

    @property
    def length_s(self) -> float:
        """Of all frames so far, the last one shown for a usual step."""
        return 0.0 if self._now_s is None else self._now_s + self._step_s

    def advance(self, stamp_s: float | None) -> float:
        """The next frame's time.

        Args:
            stamp_s: finite, None where the frame has none.
        """
        before_s, last_stamp_s = self._now_s, self._stamp_s
        now_s = 0.0 if before_s is None else before_s + self._step_s
        if stamp_s is not None:
            self._stamp_s = stamp_s
            step_s = 0.0 if before_s is None else stamp_s + self._offset_s - before_s
            if before_s is None or last_stamp_s is None or not -_LARGEST_STEP_BACK_S < step_s <= _LONGEST_STEP_S:
                self._offset_s = now_s - stamp_s
            elif stamp_s != last_stamp_s:
                now_s = before_s + max(step_s, _SHORTEST_STEP_S)
        self._now_s = now_s
        return now_s
