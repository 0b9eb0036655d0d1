"""Keyframes by counting frames, whatever the clocks say."""

from __future__ import annotations

import pytest

from lsts_edge.bundle.programs import is_keyframe
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


@pytest.mark.parametrize(
    ("interval", "keyframes"),
    [(2.5, [2, 5, 7, 10, 12, 15]), (1.5, [1, 3, 4, 6, 7, 9, 10, 12, 13, 15]), (3.25, [3, 6, 9, 13]), (4.0, [4, 8, 12])],
)
def test_between_whole_numbers_gaps_take_turns(interval: float, keyframes: list[int]) -> None:
    """Counted anew for each stream and after a reset, and as ``is_keyframe`` counts."""
    begun = FixedInterval(interval)
    for scheduler in (begun, begun.for_stream(), begun):
        scheduler.on_reset("new-video")
        age, found = 0, []
        for frame in range(1, 16):
            age = 0 if scheduler.decide(FrameInfo(frame, age + 1, None, 0.0)).keyframe else age + 1
            found += [] if age else [frame]
        assert found == keyframes
    assert [index for index in range(16) if is_keyframe(index, interval)] == [0, *keyframes]


@pytest.mark.parametrize("interval", [0, 0.99, float("nan"), -1, 1001])
def test_an_absurd_interval_is_refused(interval: float) -> None:
    with pytest.raises(OptionError, match=r"1\.\.1000|a number"):
        FixedInterval(interval)
