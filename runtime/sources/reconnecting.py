"""A live source that is found again after it was lost: tried anew with growing, jittered pauses, and told each time."""

from __future__ import annotations

import dataclasses
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from lsts_edge.errors import StreamError, StreamLost, StreamUnauthorized
from lsts_edge.runtime.sources.connection import Connection
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["Reconnecting"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_REFUSED_PAUSE_S = 30.0  # cameras lock out who tries a wrong password again and again
_REFUSED_TRIES = 5
_SETTLED_S = 5.0  # a connection that lasted so long was a good one: pauses begin small again
_MARGIN_S = 0.5  # a read that can be interrupted ends first, and says more
_POLL_S = 0.1
_MAX_STUCK = 3
_CLOCK_STEP_S = 5.0


class Reconnecting(Source):
    """Reads a live source again and again; time goes on over the gaps, and ``Frame.reconnects`` counts them."""

    live = True

    def __init__(
        self,
        connect: Callable[[int], Source],
        *,
        name: str,
        give_up_s: float | None = None,
        stall_s: float = 4.0,
        wait_for_first: bool = False,
        longest_pause_s: float = 1.0,
    ) -> None:
        """Open the source, or begin to wait for it.

        Args:
            connect: opens the source; given how many attempts failed in a row.
            name: for messages.
            give_up_s: how long to look for a source that was lost; 0 never looks, None looks for ever.
            stall_s: without a frame for so long it is lost.
            wait_for_first: a source that is not there yet is waited for in the same way; otherwise it is an error.
            longest_pause_s: between two attempts; a camera that is back is found within it.
        Raises:
            StreamError: as ``connect`` says.
        """
        self.name = name
        self._connect = connect
        self._give_up_s = give_up_s
        self._stall_s = stall_s
        self._longest_pause_s = longest_pause_s
        self._random = random.Random()
        self._stuck: list[Connection] = []
        self._lost_before = 0
        self._refusals = 0
        self.facts = self._facts = dict[str, Any]()
        self._connection: Connection | None = self._begin(0)
        if not wait_for_first:
            try:
                self._connection.wait_open()
            except BaseException:
                self._connection.leave()
                raise
            self._take_over()

    def stop(self) -> None:
        """End the iteration soon, in a pause too."""
        self.stopping = True

    def close(self) -> None:
        """Leave the source."""
        super().close()
        self._end_connection()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames for ever, or until the source is lost for good.

        Raises:
            StreamLost: if it was lost and not found again in time.
            StreamUnauthorized: if it refuses the password before the first frame.
        """
        clock = _LiveClock()
        index, tries, lost_s, lasting_s = 0, 0, None, time.monotonic()
        while not self.stopping:
            try:
                for frame in self._frames(tries):
                    now_s = time.monotonic()
                    if lost_s is not None:
                        self._tell_found(now_s - lost_s, index)
                        clock.next_connection()
                        lost_s, lasting_s = None, now_s
                    if now_s - lasting_s > _SETTLED_S:
                        tries = 0
                    arrived_s = now_s if frame.arrived_s is None else frame.arrived_s
                    yield dataclasses.replace(
                        frame,
                        index=index,
                        time_s=clock.time_s(frame.time_s, arrived_s),
                        arrived_s=arrived_s,
                        reconnects=self.reconnects,
                    )
                    index += 1
                fault: StreamError = StreamError(
                    f"{self.name} ended", got="the end of the stream", expected="a live one", fix="Check the camera."
                )
            except StreamLost:
                raise
            except StreamError as error:
                fault = error
            finally:
                self._end_connection()
            if self.stopping:
                return
            if lost_s is None:
                lost_s = time.monotonic()
                state = "lost" if index else "not there yet"
                logger.warning("%s is %s: %s. %s", self.name, state, fault.got, fault.fix)
            self._judge(fault, index, time.monotonic() - lost_s)
            self._pause(fault, tries)
            del fault  # it holds this frame, which would hold it: nothing of a lost connection is to stay
            tries += 1

    def _frames(self, tries: int) -> Iterator[Frame]:
        connection = self._connection
        if connection is None:
            self._stuck = [one for one in self._stuck if one.running]
            if len(self._stuck) >= _MAX_STUCK:
                got = f"{len(self._stuck)} reads that never returned"
                raise StreamError(f"{self.name} is stuck", got=got, expected="its driver to answer", fix="Replug it.")
            connection = self._connection = self._begin(tries)
        for frame in connection.frames(self._stall_s + _MARGIN_S, lambda: self.stopping):
            self._take_over()
            yield frame

    def _begin(self, tries: int) -> Connection:
        return Connection(lambda: self._connect(tries), self.name)

    def _take_over(self) -> None:
        source = self._connection.source if self._connection is not None else None
        if source is not None:
            self.rate_fps = source.rate_fps or self.rate_fps
            self.lost = self._lost_before + source.lost
            self._facts.update(source.facts)

    def _end_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.leave()
        self._lost_before = self.lost
        if connection.running:
            self._stuck.append(connection)

    def _judge(self, fault: StreamError, frames: int, gone_s: float) -> None:
        """Raise where it is of no use to go on; a source that never was there is not lost."""
        if frames == 0 and isinstance(fault, StreamUnauthorized):
            raise fault
        if self._give_up_s is None or gone_s < self._give_up_s:
            return
        if frames == 0:
            raise fault
        tried = "not looked for" if self._give_up_s == 0 else f"not found again within {self._give_up_s:g} s"
        raise StreamLost(
            f"{self.name} is gone",
            got=f"{fault.problem}: {fault.got}; {tried}",
            expected="a live source",
            fix=f"{fault.fix} --reconnect forever waits for it.",
        ) from fault

    def _pause(self, fault: StreamError, tries: int) -> None:
        self._refusals = self._refusals + 1 if isinstance(fault, StreamUnauthorized) else 0
        if self._refusals > _REFUSED_TRIES:
            pause_s = _REFUSED_PAUSE_S
        elif self._refusals:
            pause_s = self._longest_pause_s
        else:
            pause_s = min(self._longest_pause_s, _FIRST_PAUSE_S * 2 ** min(tries, 10))
        end_s = time.monotonic() + pause_s * self._random.uniform(0.5, 1.0)
        while not self.stopping and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_S))

    def _tell_found(self, gone_s: float, frames: int) -> None:
        if frames:
            self.reconnects += 1
            logger.warning("%s is back after %.1f s", self.name, gone_s)
        else:
            logger.warning("%s is there after %.1f s", self.name, gone_s)


class _LiveClock:
    """Seconds since the first frame: by the stream's own stamps within a connection, by arrival between two.

    Stamps that run backwards, or away from the arrival by more than 5 s, are a clock that was set, not time that
    passed: counting goes on from the arrival.
    """

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._offset_s: float | None = None
        self._last_s = 0.0

    def next_connection(self) -> None:
        self._offset_s = None

    def time_s(self, stamp_s: float | None, arrived_s: float) -> float:
        if self._origin_s is None:
            self._origin_s = arrived_s
        passed_s = arrived_s - self._origin_s
        if stamp_s is None:
            now_s = passed_s
        else:
            if self._offset_s is None:
                self._offset_s = passed_s - stamp_s
            now_s = stamp_s + self._offset_s
            if now_s < self._last_s or abs(now_s - passed_s) > _CLOCK_STEP_S:
                self._offset_s, now_s = passed_s - stamp_s, passed_s
        self._last_s = max(self._last_s, now_s)
        return self._last_s
