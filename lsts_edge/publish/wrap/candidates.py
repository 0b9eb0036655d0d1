"""The ways of running a detector that are measured beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lsts_edge.bundle.propagation import Parameter, PropagationWay, WayKind
from lsts_edge.publish.wrap.make import program_name
from lsts_edge.publish.wrap.study import StudyRow
from lsts_edge.publish.wrap.subject import Size
from lsts_edge.runtime.propagators.make import propagator_parameters

__all__ = ["INTERVALS", "LONGEST_GAP", "MOTIONS", "Candidate", "candidates"]

INTERVALS = (2, 2.5, 3, 4, 5, 10)
MOTIONS = (0.05, 0.1, 0.15, 0.2, 0.3)
LONGEST_GAP = 6
"""Frames between keyframes that wait for motion, at most: what is new in a still picture is found after that."""

_CARRIED: tuple[WayKind, ...] = ("hold", "flow-boxes")


@dataclass(frozen=True)
class Candidate:
    """A way, how often it detects, and on which input.

    Attributes:
        kind: what fills the frames between keyframes; ``smaller-input`` detects in every frame.
        interval: frames from one keyframe to the next; at most, where motion asks for keyframes.
        size: of the keyframes' input.
        small: of the propagated frames' input, for ``fused``.
        parameters: of the propagator, all of them.
    """

    kind: WayKind
    interval: int | float
    size: Size
    small: Size | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict, hash=False)

    @property
    def detects_always(self) -> bool:
        """Every frame is run alike."""
        return self.kind in ("every-frame", "smaller-input")

    @property
    def most_motion(self) -> float | None:
        """Motion after which a keyframe is due; None where the interval alone decides."""
        return self.way().most_motion

    @property
    def family(self) -> tuple[WayKind, Size, Size | None]:
        """What it shares with the same way at other intervals: the time of a keyframe and of a propagated frame."""
        return self.kind, self.size, self.small

    def way(self) -> PropagationWay:
        """As a bundle whose input has the size ``size`` names it."""
        if self.detects_always:
            return PropagationWay("every-frame", 1)
        program = None if self.small is None else program_name(self.small)
        return PropagationWay(self.kind, self.interval, self.parameters, program)

    def is_of(self, row: StudyRow) -> bool:
        """Whether a row of the study is about this way."""
        small = None if row.small_height_px is None else (row.small_height_px, row.small_width_px)
        mine = (self.kind, self.interval, self.most_motion, self.size, self.small)
        return mine == (row.way, row.keyframe_interval, row.keyframe_motion, (row.height_px, row.width_px), small)

    def key(self) -> list[Any]:
        """JSON-ready, for the cache."""
        return [self.kind, self.interval, list(self.size), list(self.small or ()), self.parameters]

    def __str__(self) -> str:
        small = f" + {self.small[1]}x{self.small[0]}" if self.small else ""
        return f"{self.kind} {self.way().schedule}, {self.size[1]}x{self.size[0]}{small}"


def candidates(
    size: Size,
    smaller: Sequence[Size],
    intervals: Sequence[float] = INTERVALS,
    motions: Sequence[float] = MOTIONS,
    learnt: dict[str, Parameter] | None = None,
) -> tuple[Candidate, ...]:
    """All of them; the first runs the detector on every frame.

    Args:
        size: the largest input.
        smaller: others, the largest first. ``fused`` looks at the two smallest between keyframes of the largest.
        intervals: from keyframe to keyframe.
        motions: of boxes that are moved by flow, after which a keyframe is due.
        learnt: what tells the learnt way from others like it, where something was learnt.
    """
    found = tuple(_listed(size, smaller, intervals, motions))
    if learnt is None:
        return found
    return (*found, *(Candidate("features", interval, size, None, learnt) for interval in intervals))


def _listed(
    size: Size, smaller: Sequence[Size], intervals: Sequence[float], motions: Sequence[float]
) -> Iterator[Candidate]:
    yield Candidate("every-frame", 1, size)
    for small in smaller:
        yield Candidate("smaller-input", 1, small)
    for keyframes in (size, *smaller):
        for kind in _CARRIED:
            for interval in intervals:
                yield Candidate(kind, interval, keyframes, None, propagator_parameters(kind))
        for motion in motions:
            parameters = propagator_parameters("flow-boxes", {"most_motion": motion})
            yield Candidate("flow-boxes", LONGEST_GAP, keyframes, None, parameters)
    for small in smaller[-2:]:
        for interval in intervals:
            yield Candidate("fused", interval, size, small, propagator_parameters("fused"))
