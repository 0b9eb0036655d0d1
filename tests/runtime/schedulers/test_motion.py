"""Keyframes after enough motion, and at the latest after an interval."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lsts_edge.bundle.propagation import PropagationWay
from lsts_edge.errors import OptionError
from lsts_edge.runtime.schedulers import FixedInterval, MotionInterval
from lsts_edge.runtime.schedulers.interface import FrameInfo, Scheduler
from lsts_edge.runtime.schedulers.make import make_scheduler
from lsts_edge.runtime.schedulers.motion import BOX_MOTION


def keyframes(scheduler: Scheduler, motions: Sequence[float]) -> list[tuple[int, str]]:
    """Those after frame 0, with why, when the boxes of frame i move by ``motions[i]`` unless it is a keyframe."""
    found, age, signals = [], 0, {}
    for frame in range(1, len(motions)):
        decision = scheduler.decide(FrameInfo(frame, age + 1, None, 0.0, signals=signals))
        age = 0 if decision.keyframe else age + 1
        signals = {} if decision.keyframe else {BOX_MOTION: motions[frame]}
        if decision.keyframe:
            found.append((frame, decision.why))
    return found


def test_motion_adds_up_until_a_keyframe_is_due() -> None:
    # 0.2 after frame 2, 0.3 after frame 3: more than 0.25, so frame 4 is a keyframe.
    motion, interval = "motion", "interval"
    assert keyframes(MotionInterval(100, 0.25), [0.1] * 13) == [(4, motion), (8, motion), (12, motion)]
    assert keyframes(MotionInterval(6, 0.25), [0.0] * 14) == [(6, interval), (12, interval)]
    fast_then_still = [0.3] * 5 + [0.0] * 12
    assert keyframes(MotionInterval(6, 0.25), fast_then_still) == [
        (2, motion),
        (4, motion),
        (10, interval),
        (16, interval),
    ]


def test_streams_and_resets_begin_anew() -> None:
    one = MotionInterval(6, 0.25)
    assert keyframes(one, [0.1] * 4) == []
    other = one.for_stream()
    assert keyframes(other, [0.1] * 5) == [(4, "motion")]
    one.on_reset("scene-cut")
    assert keyframes(one, [0.1] * 5) == [(4, "motion")]


def test_a_network_that_says_nothing_leaves_it_to_the_interval() -> None:
    scheduler = MotionInterval(3, 0.1)
    assert [scheduler.decide(FrameInfo(age, age, None, 0.0)).keyframe for age in (1, 2, 3)] == [False, False, True]


def test_a_way_asks_for_its_schedule() -> None:
    moving = make_scheduler(PropagationWay("flow-boxes", 6, {"most_motion": 0.1, "grid": 5}))
    assert isinstance(moving, MotionInterval) and (moving.interval, moving.most_motion) == (6, 0.1)
    for parameters in ({}, {"most_motion": 0.0}):
        fixed = make_scheduler(PropagationWay("flow-boxes", 2.5, parameters))
        assert isinstance(fixed, FixedInterval) and fixed.interval == 2.5


@pytest.mark.parametrize("most_motion", [0, -1, float("nan"), float("inf"), 101])
def test_absurd_motion_is_refused(most_motion: float) -> None:
    with pytest.raises(OptionError, match="most motion"):
        MotionInterval(6, most_motion)
