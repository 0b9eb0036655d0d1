"""The length of what a stream has shown, from time stamps that may be missing, run backwards or jump."""

from __future__ import annotations

__all__ = ["StreamTime"]

_LONGEST_STEP_S = 10.0
_USUAL_RATE_FPS = 25.0


class StreamTime:
    """Adds up the steps between frames; a step that tells nothing counts as the usual one."""

    def __init__(self, rate_fps: float | None) -> None:
        """Begin.

        Args:
            rate_fps: frames per second, where the source knows.
        """
        self.elapsed_s = 0.0
        self._usual_s = 1.0 / (rate_fps or _USUAL_RATE_FPS)
        self._before_s: float | None = None

    def advance(self, time_s: float | None) -> float:
        """Count a frame with this time stamp; returns the length so far in seconds, this frame included."""
        before_s, self._before_s = self._before_s, time_s
        if before_s is None or time_s is None or not 0 < time_s - before_s <= _LONGEST_STEP_S:
            self.elapsed_s += self._usual_s
        else:
            self.elapsed_s += time_s - before_s
        return self.elapsed_s
