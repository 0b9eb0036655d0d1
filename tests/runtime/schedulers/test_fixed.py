"""Keyframes by counting frames, whatever the clocks say."""

from __future__ import annotations

import pytest

from lsts_edge.errors import OptionError
from lsts_edge.runtime.schedulers.fixed import FixedInterval
from lsts_edge.runtime.schedulers.interface import FrameInfo


@pytest.mark.parametrize("interval", [1, 2, 10])
@pytest.mark.parametrize("clock_step_s", [0.04, 3600.0, -3600.0])
def test_a_keyframe_every_interval_whatever_the_clock(interval: int, clock_step_s: float) -> None:
    scheduler, now_s, age, keyframes = FixedInterval(interval), 1e6, 0, []
    for frame in range(1, 41):
        now_s += clock_step_s
        decision = scheduler.decide(FrameInfo(frame, age + 1, now_s, now_s))
        age = 0 if decision.keyframe else age + 1
        if decision.keyframe:
            keyframes.append(frame)
        assert decision.why
    assert keyframes == list(range(interval, 41, interval))


@pytest.mark.parametrize("interval", [0, -1, 1001])
def test_an_absurd_interval_is_refused(interval: int) -> None:
    with pytest.raises(OptionError, match=r"1\.\.1000"):
        FixedInterval(interval)
