"""The frames that a wrapped bundle is recorded on: where the detector finds most, in the clips that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.publish.wrap.clips import ClipReader, CutClip
from lsts_edge.publish.wrap.found import PieceFound
from lsts_edge.publish.wrap.sample import Piece
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.verify.golden import MIN_BOXES, MIN_CLASSES

__all__ = ["SCENE_FRAMES", "Scene", "choose_scenes", "scene_images"]

SCENE_FRAMES = 30
_MOST_SCENES = 3


@dataclass(frozen=True)
class Scene:
    """Frames ``first`` to before ``end`` of clip number ``clip``."""

    clip: int
    first: int
    end: int


def choose_scenes(pieces: Sequence[Piece], found: Sequence[PieceFound], score: float) -> list[Scene]:
    """The beginnings of up to three pieces, until they hold enough boxes of enough classes for a recording.

    Args:
        pieces: that were looked at.
        found: in them; the first way is the detector on every frame.
        score: boxes below are not counted.
    """
    rest = []
    for piece, one in zip(pieces, found, strict=True):
        boxes = one.of(0)
        end = min(piece.frames, SCENE_FRAMES)
        rest.append((Scene(piece.clip, piece.first, piece.first + end), _shown(boxes, end, score)))
    taken: list[Scene] = []
    boxes_taken, classes = 0, set[int]()
    while rest and len(taken) < _MOST_SCENES and (boxes_taken < MIN_BOXES or len(classes) < MIN_CLASSES or not taken):
        best = max(rest, key=lambda item: (len(set(item[1]) - classes), len(item[1])) if taken else (len(item[1]), 0))
        rest.remove(best)
        taken.append(best[0])
        boxes_taken += len(best[1])
        classes |= set(best[1])
    return sorted(taken, key=lambda scene: (scene.clip, scene.first))


def scene_images(scenes: Sequence[Scene], clips: Sequence[CutClip], size: InputInfo) -> list[np.ndarray]:
    """The scenes' frames as the network's pictures, ``(1, H, W, 3)`` uint8 BGR each.

    Raises:
        StreamError: if a clip cannot be read any more.
    """
    reader = ClipReader()
    images = []
    for scene in scenes:
        prepare = Preprocessor(size)
        images += [prepare(frame)[0].copy() for frame in reader.part(clips[scene.clip], scene.first, scene.end)]
    return images


def _shown(boxes: FrameBoxes, end: int, score: float) -> list[int]:
    kept = (boxes.frame < end) & (boxes.boxes.scores >= score)
    return [int(label) for label in boxes.boxes.labels[kept]]
