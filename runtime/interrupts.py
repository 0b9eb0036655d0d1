"""Ctrl-C, SIGTERM and SIGHUP stop a source between two frames, so that outputs end complete."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from lsts_edge.runtime.sources.interface import Source

__all__ = ["StopOnSignal"]


class StopOnSignal:
    """While entered, the first SIGINT, SIGTERM or SIGHUP lets ``source`` end; a second one acts as ever.

    Attributes:
        received: the signal's number, None while there was none.
    """

    def __init__(self, source: Source) -> None:
        """Nothing is installed before ``with``, which must run in the main thread."""
        self._source = source
        self._before: dict[int, object] = {}
        self.received: int | None = None

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN and number == signal.SIGHUP:
                continue  # nohup: the terminal's end is not to end the run
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        self._source.stop()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}
