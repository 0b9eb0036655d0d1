"""Which frames are looked at: whole shots, spread over the clips, half of them to choose and half to state."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lsts_edge.errors import StreamEmpty
from lsts_edge.publish.wrap.clips import CutClip

__all__ = ["HALVES", "Half", "Piece", "SampledPieces", "sample_pieces"]

Half = Literal["choose", "state"]
HALVES: tuple[Half, Half] = ("choose", "state")
SplitBy = Literal["clip", "shot", "time", "labels"]

_SHORTEST_FRAMES = 2


@dataclass(frozen=True)
class Piece:
    """A shot, or a part of a long one: frames ``first`` to before ``end`` of clip number ``clip``."""

    clip: int
    first: int
    end: int
    half: Half

    @property
    def frames(self) -> int:
        """How many."""
        return self.end - self.first


@dataclass(frozen=True)
class SampledPieces:
    """What is looked at.

    Attributes:
        pieces: by clip, in order.
        split_by: what the halves are halves of; ``labels``: labelled sequences state, the other clips choose.
        frames_there: of all clips, shots too short to use left out.
    """

    pieces: tuple[Piece, ...]
    split_by: SplitBy
    frames_there: int

    def frames(self, half: Half) -> int:
        """Frames of a half."""
        return sum(piece.frames for piece in self.pieces if piece.half == half)

    def of(self, half: Half) -> tuple[Piece, ...]:
        """The pieces of a half."""
        return tuple(piece for piece in self.pieces if piece.half == half)


def sample_pieces(clips: Sequence[CutClip], *, most_frames: int, longest_frames: int) -> SampledPieces:
    """Choose pieces until each half has its share of the frames, and at least one.

    The same clips give the same pieces: nothing is drawn, digests decide.

    Args:
        clips: as ``read_clips`` gives them.
        most_frames: of both halves together; the piece that reaches the share is the last.
        longest_frames: of a piece; longer shots are cut into equal parts.

    Raises:
        StreamEmpty: if there is only one frame between two cuts wherever one looks, or too few for two halves.
    """
    whole = [(index, shot) for index, clip in enumerate(clips) for shot in clip.shots if len(shot) >= _SHORTEST_FRAMES]
    split_by, halves = _halves(clips, whole)
    pieces: list[Piece] = []
    for half in HALVES:
        cut = ((clip, part) for clip, shot in halves[half] for part in _cut(shot, longest_frames))
        parts = [Piece(clip, part.start, part.stop, half) for clip, part in cut]
        pieces += _chosen(clips, parts, most_frames // 2)
    if {piece.half for piece in pieces} != set(HALVES):
        raise StreamEmpty(
            "frames to measure on",
            got=f"{sum(len(shot) for _, shot in whole)} in {len(whole)} shots of two frames or more",
            expected="four or more",
            fix="Give longer clips.",
        )
    pieces.sort(key=lambda piece: (piece.clip, piece.first))
    return SampledPieces(tuple(pieces), split_by, sum(len(shot) for _, shot in whole))


_Shots = list[tuple[int, range]]


def _halves(clips: Sequence[CutClip], whole: _Shots) -> tuple[SplitBy, dict[Half, _Shots]]:
    labelled = {index for index, clip in enumerate(clips) if clip.records}
    if labelled and len(labelled) < len(clips):
        parts: dict[Half, _Shots] = {"choose": [], "state": []}
        for clip, shot in whole:
            parts["state" if clip in labelled else "choose"].append((clip, shot))
        return "labels", parts
    used = sorted({clip for clip, _ in whole}, key=lambda clip: clips[clip].digest)
    if len(used) > 1:
        shots_of = [[item for item in whole if item[0] == clip] for clip in used]
        return "clip", _balanced(shots_of)
    if len(whole) > 1:
        return "shot", _balanced([[item] for item in whole])
    parts = {"choose": [], "state": []}
    for clip, shot in whole:
        middle = shot.start + len(shot) // 2
        parts["choose"].append((clip, range(shot.start, middle)))
        parts["state"].append((clip, range(middle, shot.stop)))
    return "time", {half: [item for item in parts[half] if len(item[1]) >= _SHORTEST_FRAMES] for half in HALVES}


def _balanced(groups: Iterable[_Shots]) -> dict[Half, _Shots]:
    """Each group to the half that has fewer frames so far."""
    parts: dict[Half, _Shots] = {"choose": [], "state": []}
    frames: dict[Half, int] = {"choose": 0, "state": 0}
    for group in groups:
        half = min(HALVES, key=lambda half: frames[half])
        parts[half] += group
        frames[half] += sum(len(shot) for _, shot in group)
    return parts


def _cut(shot: range, longest_frames: int) -> list[range]:
    count = -(-len(shot) // max(longest_frames, _SHORTEST_FRAMES))
    ends = [shot.start + round(len(shot) * part / count) for part in range(count + 1)]
    return [range(low, high) for low, high in itertools.pairwise(ends)]


def _chosen(clips: Sequence[CutClip], parts: Sequence[Piece], most_frames: int) -> list[Piece]:
    """A piece of each clip in turn, in the order of digests."""

    def order(piece: Piece) -> str:
        return hashlib.sha256(f"{clips[piece.clip].digest} {piece.first}".encode()).hexdigest()

    turns: dict[int, int] = {}
    ranked = []
    for piece in sorted(parts, key=order):
        turn = turns.get(piece.clip, 0)
        turns[piece.clip] = turn + 1
        ranked.append((turn, clips[piece.clip].digest, piece))
    ranked.sort(key=lambda item: item[:2])
    taken: list[Piece] = []
    frames = 0
    for _, _, piece in ranked:
        if taken and frames >= most_frames:
            break
        taken.append(piece)
        frames += piece.frames
    return taken
