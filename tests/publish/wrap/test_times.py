"""Times with a planted clock: costs are those that pass; what disturbs one way does not decide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lsts_edge.publish.wrap.candidates import candidates
from lsts_edge.publish.wrap.plan import LEAST_BLOCKS, LEAST_FRAMES, MOST_BLOCKS, MOST_FRAMES, make_plan
from lsts_edge.publish.wrap.times import BLOCK_FRAMES, BlockTimes, WayTimes, time_blocks

MS = 1_000_000
SIZES = ((256, 448), (192, 320), (128, 224))


class _Planted:
    """A detector whose frames take what is planted, on a clock that nothing else moves."""

    def __init__(self, clock: list[int], keyframe_ms: int, propagated_ms: int | None) -> None:
        self._clock = clock
        self._ms = (keyframe_ms, keyframe_ms if propagated_ms is None else propagated_ms)
        self._frame = 0
        self.streams = 0

    def start_stream(self) -> None:
        self._frame = 0
        self.streams += 1

    def push(self, picture: np.ndarray) -> None:
        self._clock[0] += MS * self._ms[self._frame % 4 != 0]
        self._frame += 1


def _timed(ways: Sequence[tuple[int, int | None]], blocks: int = 5) -> list[BlockTimes]:
    clock = [0]
    detectors = [(_Planted(clock, *way), way[1] is not None) for way in ways]
    pictures = [[np.zeros((2, 2, 3), np.uint8)] * BLOCK_FRAMES for _ in range(blocks)]
    return time_blocks(detectors, pictures, clock_ns=lambda: clock[0])  # type: ignore[arg-type]


def test_costs_are_those_planted() -> None:
    whole, flow = _timed([(8, None), (10, 2)])
    assert len(whole.keyframes_ms[0]) == 12 and len(flow.keyframes_ms[0]) == 3 and len(flow.propagated_ms[0]) == 9
    spent = WayTimes.of(flow, 5, whole)
    assert spent.cost == pytest.approx((10 + 4 * 2) / 5 / 8)
    assert (spent.keyframe_ms, spent.propagated_ms) == (10, 2)
    assert (spent.time_ms.p50, spent.time_ms.p99, spent.time_ms.n) == (2, 10, 60)
    every = WayTimes.of(whole, 1, whole)
    assert (every.cost, every.propagated_ms, every.time_ms.mean) == (1.0, None, 8.0)


def test_a_disturbance_of_one_way_does_not_decide() -> None:
    whole, flow = _timed([(8, None), (10, 2)])
    late = BlockTimes(((999.0, 10.0, 10.0), *flow.keyframes_ms[1:]), flow.propagated_ms)
    assert WayTimes.of(late, 5, whole).cost == WayTimes.of(flow, 5, whole).cost
    assert WayTimes.of(late, 5, whole).time_ms.p99 == 999.0


def test_block_times_are_read_back() -> None:
    (whole,) = _timed([(8, None)])
    assert BlockTimes.from_dict(whole.to_dict()) == whole


def test_the_sample_shrinks_with_the_time_and_never_to_nothing() -> None:
    ways = candidates(SIZES[0], SIZES[1:])
    fast = dict(zip(SIZES, (0.005, 0.003, 0.002), strict=True))
    slow = dict(zip(SIZES, (4.0, 2.4, 1.2), strict=True))  # a hundred times slower than a video
    wide = make_plan(1800, fast, ways, precisions=1, engines=2)
    assert (wide.most_frames, wide.blocks, wide.short) == (MOST_FRAMES, MOST_BLOCKS, False)
    tight = make_plan(1800, slow, ways, precisions=1, engines=1)
    assert LEAST_FRAMES <= tight.most_frames < 200 and tight.longest_frames <= tight.most_frames
    assert tight.seconds < 2400
    short = make_plan(60, slow, ways, precisions=2, engines=2)
    assert (short.most_frames, short.blocks, short.short) == (LEAST_FRAMES, LEAST_BLOCKS, True)
