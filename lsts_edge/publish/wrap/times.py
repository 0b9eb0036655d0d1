"""Times of ways beside each other: the same frames in turn, keyframes and propagated frames apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.publish.wrap.study import TimeMs
from lsts_edge.runtime.detector import Detector

__all__ = ["BLOCK_FRAMES", "BlockTimes", "WayTimes", "time_blocks"]

BLOCK_FRAMES = 12
TIMED_INTERVAL = 4
"""Every block has three keyframes and nine frames between them, whatever interval is asked about afterwards."""


@dataclass(frozen=True)
class BlockTimes:
    """Milliseconds of the frames of each block: of keyframes ``(B, 3)`` or all ``(B, 12)``, and of those between."""

    keyframes_ms: tuple[tuple[float, ...], ...]
    propagated_ms: tuple[tuple[float, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"keyframes_ms": self.keyframes_ms, "propagated_ms": self.propagated_ms}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BlockTimes:
        """What ``to_dict`` gave."""
        return cls(*(tuple(tuple(map(float, block)) for block in data[name]) for name in _FIELDS))

    def means_ms(self, interval: float) -> np.ndarray:
        """Mean time of a frame in each block, ``(B,)``, were there ``interval`` frames from keyframe to keyframe."""
        keyframes = np.array([np.mean(block) for block in self.keyframes_ms])
        if interval == 1 or not any(self.propagated_ms):
            return keyframes
        between = np.array([np.mean(block) for block in self.propagated_ms])
        return np.asarray((keyframes + (interval - 1) * between) / interval)


_FIELDS = ("keyframes_ms", "propagated_ms")


@dataclass(frozen=True)
class WayTimes:
    """What a way costs: time of a frame, and of keyframes and propagated frames (medians), and the share of the whole.

    ``cost`` is the median over blocks of the way's mean time by that of the detector on every frame, on the same
    frames, a moment apart.
    """

    time_ms: TimeMs
    keyframe_ms: float
    propagated_ms: float | None
    cost: float

    @classmethod
    def of(cls, times: BlockTimes, interval: float, whole: BlockTimes) -> WayTimes:
        """At an interval, beside the detector on every frame."""
        cost = float(np.median(times.means_ms(interval) / whole.means_ms(1)))
        keyframes = np.concatenate([np.array(block) for block in times.keyframes_ms])
        between = np.concatenate([np.zeros(0), *(np.array(block) for block in times.propagated_ms)])
        mixed = interval > 1 and len(between) > 0
        weights = np.full(len(keyframes), 1.0 / len(keyframes))
        values = keyframes
        if mixed:
            share = (interval - 1) / interval
            values = np.concatenate((keyframes, between))
            weights = np.concatenate((weights * (1 - share), np.full(len(between), share / len(between))))
        p50, p99 = (_quantile(values, weights, level) for level in (0.5, 0.99))
        mean = cost * float(np.mean(whole.means_ms(1)))
        return cls(
            TimeMs(round(mean, 4), round(p50, 4), round(p99, 4), len(values)),
            round(float(np.median(keyframes)), 4),
            round(float(np.median(between)), 4) if mixed else None,
            round(cost, 5),
        )


def time_blocks(
    detectors: Sequence[tuple[Detector, bool]],
    blocks: Iterable[Sequence[np.ndarray]],
    tick: Callable[[], None] = lambda: None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[BlockTimes]:
    """Run every detector over every block, in turn; who begins moves on from block to block.

    The first block is run once more before, untimed: sessions allocate at their first frames.

    Args:
        detectors: each with whether it has propagated frames, in which case every fourth frame is a keyframe.
        blocks: ``BLOCK_FRAMES`` pictures each.
        tick: called after each detector's block.
        clock_ns: what times.
    """
    keyframes: list[list[tuple[float, ...]]] = [[] for _ in detectors]
    between: list[list[tuple[float, ...]]] = [[] for _ in detectors]
    for turn, block in enumerate(blocks):
        if turn == 0:
            for detector, _ in detectors:
                _run(detector, block[: TIMED_INTERVAL + 1], clock_ns)
        for place in range(len(detectors)):
            index = (place + turn) % len(detectors)
            detector, propagates = detectors[index]
            spent = _run(detector, block, clock_ns)
            is_key = [not propagates or at % TIMED_INTERVAL == 0 for at in range(len(spent))]
            keyframes[index].append(tuple(ms for ms, key in zip(spent, is_key, strict=True) if key))
            between[index].append(tuple(ms for ms, key in zip(spent, is_key, strict=True) if not key))
            tick()
    return [BlockTimes(tuple(keys), tuple(rest)) for keys, rest in zip(keyframes, between, strict=True)]


def _run(detector: Detector, block: Sequence[np.ndarray], clock_ns: Callable[[], int]) -> list[float]:
    detector.start_stream()
    spent = []
    for picture in block:
        begin = clock_ns()
        detector.push(picture)
        spent.append((clock_ns() - begin) / 1e6)
    return spent


def _quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(reached, level * reached[-1])), len(values) - 1)])
