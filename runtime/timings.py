"""Where one frame's time went: the engine's graphs and the stages around them, apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Timings"]


@dataclass(frozen=True)
class Timings:
    """Milliseconds of one frame, complete before its result is made.

    Attributes:
        stages_ms: what is not the network, by name in the order it ran: ``preprocess``, ``postprocess``, and
            ``propagate`` where boxes are moved.
        graphs_ms: inside the engine, by graph; a graph that ran twice counts twice.
    """

    stages_ms: Mapping[str, float] = field(default_factory=dict)
    graphs_ms: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Timings) -> Timings:
        """Both together, name by name: a frame that ran twice."""
        return Timings(_sums(self.stages_ms, other.stages_ms), _sums(self.graphs_ms, other.graphs_ms))

    def spent(self, stage: str, ms: float) -> Timings:
        """With so much more in a stage."""
        return Timings({**self.stages_ms, stage: self.stages_ms.get(stage, 0.0) + ms}, self.graphs_ms)

    @property
    def graphs_total_ms(self) -> float:
        """Inside the engine."""
        return sum(self.graphs_ms.values())

    @property
    def total_ms(self) -> float:
        """From frame to boxes."""
        return sum(self.stages_ms.values()) + self.graphs_total_ms


def _sums(left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, float]:
    return {name: left.get(name, 0.0) + right.get(name, 0.0) for name in {**left, **right}}
