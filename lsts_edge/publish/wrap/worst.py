"""Frames in which a way differs most from the detector: what a reader should look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.publish.wrap.clips import CutClip
from lsts_edge.publish.wrap.found import PieceFound
from lsts_edge.publish.wrap.sample import SampledPieces
from lsts_edge.publish.wrap.study import DrawnBox, WorstFrame

__all__ = ["worst_frames"]

_MOST, _MOST_OF_CLIP = 12, 2
_SAME_IOU = 0.5


def worst_frames(
    sample: SampledPieces,
    clips: Sequence[CutClip],
    truth: Sequence[PieceFound],
    found: Sequence[PieceFound],
    way: int,
    score: float,
    classes: Sequence[str],
) -> tuple[WorstFrame, ...]:
    """The frames with most boxes missed or wrong, of the half that states, few from each clip.

    Args:
        sample: the pieces.
        clips: of the pieces.
        truth: of each piece, in float32; its first way is the detector on every frame.
        found: of each piece, in the way's precision.
        way: number of the way.
        score: boxes of either from here on are looked at.
        classes: names.
    """
    every = []
    for index, piece in enumerate(sample.pieces):
        if piece.half != "state":
            continue
        right, shown = truth[index].of(0), found[index].of(way)
        for at in range(piece.frames):
            true, mine = (one.boxes.select((one.frame == at) & (one.boxes.scores >= score)) for one in (right, shown))
            missed, wrong = _alone(true, mine)
            if missed + wrong:
                distance = int(found[index].distances[way, at])
                every.append((missed + wrong, piece.clip, piece.first + at, distance, missed, wrong, true, mine))
    every.sort(key=lambda item: (-item[0], clips[item[1]].digest, item[2]))
    taken: list[WorstFrame] = []
    of_clip: dict[int, int] = {}
    for _, clip, frame, distance, missed, wrong, true, mine in every:
        if of_clip.get(clip, 0) < _MOST_OF_CLIP and len(taken) < _MOST:
            of_clip[clip] = of_clip.get(clip, 0) + 1
            path = clips[clip].records[frame].path if clips[clip].records else clips[clip].path
            taken.append(
                WorstFrame(
                    clips[clip].name,
                    _plain(path),
                    frame,
                    distance,
                    missed,
                    wrong,
                    _drawn(true, classes),
                    _drawn(mine, classes),
                )
            )
    return tuple(taken)


def _alone(true: Boxes, mine: Boxes) -> tuple[int, int]:
    """Boxes of each without a partner in the other: same class, IoU 0.5, each taken once, best scores first."""
    overlap = true.iou(mine) * (true.labels[:, None] == mine.labels[None])
    matched = 0
    for column in np.argsort(-mine.scores, kind="stable"):
        row = int(overlap[:, column].argmax()) if len(true) else -1
        if row >= 0 and overlap[row, column] >= _SAME_IOU:
            overlap[row] = 0
            matched += 1
    return len(true) - matched, len(mine) - matched


def _drawn(boxes: Boxes, classes: Sequence[str]) -> tuple[DrawnBox, ...]:
    corners = np.round(boxes.xyxy_px.astype(np.float64), 1).tolist()
    scores = np.round(boxes.scores.astype(np.float64), 3).tolist()
    return tuple(
        DrawnBox(x1, y1, x2, y2, score, classes[label])
        for (x1, y1, x2, y2), score, label in zip(corners, scores, boxes.labels.tolist(), strict=True)
    )


def _plain(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]
