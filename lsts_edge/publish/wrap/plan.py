"""How many frames are looked at, so that the time that was given suffices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.subject import Size
from lsts_edge.publish.wrap.times import BLOCK_FRAMES, TIMED_INTERVAL

__all__ = ["Plan", "make_plan"]

MOST_FRAMES = 4000
"""Of all pieces together: more do not narrow the intervals, which are over clips."""

LEAST_FRAMES = 48
MOST_BLOCKS, LEAST_BLOCKS = 25, 3
_LONGEST_PIECE, _SHORTEST_PIECE = 150, 24
_PIECE_S = 60.0  # what an interruption may lose
_FOUND_SHARE, _TIMED_SHARE = 0.65, 0.3  # of the time that is left
_CARRY_S, _READ_S = 0.0015, 0.005  # a frame of a propagator, of a clip: roughly


@dataclass(frozen=True)
class Plan:
    """What is looked at.

    Attributes:
        most_frames: on which agreement is measured, both halves together.
        longest_frames: of a piece.
        blocks: of frames that are timed.
        seconds: roughly what both take.
        short: the least that figures can stand on takes longer than was given.
    """

    most_frames: int
    longest_frames: int
    blocks: int
    seconds: float
    short: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def make_plan(
    seconds_left: float,
    network_s: Mapping[Size, float],
    ways: Sequence[Candidate],
    *,
    precisions: int,
    engines: int,
) -> Plan:
    """Divide the time.

    Args:
        seconds_left: to spend.
        network_s: of a frame, by input size, on one engine in float32: the others are taken to be like it.
        ways: to measure.
        precisions: of the graphs.
        engines: that are timed.
    """
    carried = sum(not way.detects_always for way in ways)
    learnt = sum(_learnt_s(way, network_s) for way in ways if way.kind == "features")
    frame_s = (sum(network_s.values()) + _CARRY_S * carried + learnt) * precisions + _READ_S
    affordable = int(_FOUND_SHARE * seconds_left / frame_s)
    frames = min(max(affordable, LEAST_FRAMES), MOST_FRAMES)
    longest = min(max(min(int(_PIECE_S / frame_s), frames // 8), _SHORTEST_PIECE), _LONGEST_PIECE)
    block_s = sum(_block_s(way, network_s) for way in {way.family: way for way in ways}.values()) * precisions * engines
    blocks = min(max(int(_TIMED_SHARE * seconds_left / block_s), LEAST_BLOCKS), MOST_BLOCKS)
    seconds = frames * frame_s + blocks * block_s
    return Plan(frames, longest, blocks, round(seconds, 1), seconds > seconds_left)


def _learnt_s(way: Candidate, network_s: Mapping[Size, float]) -> float:
    """A frame of a learnt way: the network on keyframes, and about half of it on every frame."""
    return network_s[way.size] * (0.5 + 1 / way.interval)


def _block_s(way: Candidate, network_s: Mapping[Size, float]) -> float:
    if way.detects_always:
        return BLOCK_FRAMES * network_s[way.size]
    keyframes = BLOCK_FRAMES // TIMED_INTERVAL
    between = _CARRY_S + (0.0 if way.small is None else network_s[way.small])
    if way.kind == "features":
        between = network_s[way.size] / 2
    return keyframes * network_s[way.size] + (BLOCK_FRAMES - keyframes) * between
