"""How long every graph takes in every precision, and what a choice of precisions saves a frame."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.precision_info import LowPrecision
from lsts_edge.runtime.engines.interface import Backend

__all__ = ["FrameTimes", "GraphTimer", "GraphTimes", "time_graphs"]

MIN_SAVING = 0.01  # of a mean frame's time: less is not worth a graph's accuracy
_TIMED_RUNS = 15

GraphTimes = Mapping[str, Mapping[str, float]]
"""Graph -> precision -> milliseconds."""

GraphTimer = Callable[
    [Backend, Mapping[str, Mapping[str, bytes]], Mapping[str, Sequence[dict[str, np.ndarray]]]], GraphTimes
]
"""Backend, graph -> precision -> serialised graph, and inputs of each graph -> their times."""


def time_graphs(
    backend: Backend,
    versions: Mapping[str, Mapping[str, bytes]],
    feeds: Mapping[str, Sequence[dict[str, np.ndarray]]],
) -> GraphTimes:
    """Median milliseconds of every graph in every precision, on this machine now.

    Args:
        backend: an open engine.
        versions: graph -> precision -> the graph in it, serialised.
        feeds: inputs of each graph, at least one.
    """
    found: dict[str, dict[str, float]] = {}
    for name, contents in versions.items():
        sessions = {which: backend.load(content, name) for which, content in contents.items()}
        times: dict[str, list[float]] = {which: [] for which in sessions}
        for run in range(_TIMED_RUNS + 2):  # the first two warm up
            for which, session in sessions.items():  # taking turns, so that a busy moment meets all
                begin = time.perf_counter()
                session.run(feeds[name][run % len(feeds[name])])
                times[which].append(1e3 * (time.perf_counter() - begin))
        found[name] = {which: round(statistics.median(values[2:]), 4) for which, values in times.items()}
    return found


class FrameTimes:
    """Times of whole frames: with any choice of precisions a frame's time is a sum over its graphs."""

    def __init__(self, graph_ms: GraphTimes, manifest: Manifest) -> None:
        """Remember the times.

        Args:
            graph_ms: graph -> precision (``fp32`` always) -> milliseconds.
            manifest: of the split graphs: its programs and keyframe interval.
        """
        self._graph_ms = graph_ms
        self._programs, self._interval = manifest.programs, manifest.keyframe_interval

    def frame_ms(self, lowered: Mapping[str, LowPrecision]) -> tuple[float, float]:
        """Milliseconds of a keyframe and of a propagated frame with these graphs lowered."""
        kinds = ("keyframe", "propagated") if "keyframe" in self._programs else ("first", "first")
        sums = [
            sum(self._graph_ms[step.graph][lowered.get(step.graph, "fp32")] for step in self._programs[kind])
            for kind in kinds
        ]
        return round(sums[0], 3), round(sums[1], 3)

    def paying(self, versions: Sequence[tuple[str, LowPrecision]]) -> list[tuple[str, LowPrecision]]:
        """What saves at least ``MIN_SAVING`` of a mean frame, the largest saving first."""
        whole = self._mean_ms({})
        saving = {(name, kind): whole - self._mean_ms({name: kind}) for name, kind in versions}
        return sorted((key for key in versions if saving[key] >= MIN_SAVING * whole), key=lambda key: -saving[key])

    def _mean_ms(self, lowered: Mapping[str, LowPrecision]) -> float:
        keyframe_ms, propagated_ms = self.frame_ms(lowered)
        return (keyframe_ms + (self._interval - 1) * propagated_ms) / self._interval
