"""What many ways found in the frames of a piece of a clip: measured in one pass, kept compactly, handed out by way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.networks import Networks
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["LEAST_SCORE", "PieceFound", "run_piece"]

LEAST_SCORE = 0.1
"""Boxes of a lower score take no part: they are most boxes, and least of the agreement."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PieceFound:
    """Boxes of W ways on F frames, way after way, frame after frame.

    Attributes:
        counts: ``(W, F)`` int32, boxes of each.
        distances: ``(W, F)`` int32, frames since the keyframe.
        boxes_xyxy_px: ``(N, 4)`` float32, the frame's pixels, corners as edges.
        scores: ``(N,)`` float32.
        labels: ``(N,)`` int32.
    """

    counts: Array
    distances: Array
    boxes_xyxy_px: Array
    scores: Array
    labels: Array

    def arrays(self) -> dict[str, Array]:
        """For the cache."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array] | None, ways: int, frames: int) -> PieceFound | None:
        """What the cache kept; None where it is not of so many ways and frames."""
        if arrays is None or set(arrays) != set(_FIELDS):
            return None
        found = cls(**arrays)
        total = int(found.counts.sum())
        shapes = [getattr(found, name).shape for name in _FIELDS]
        fits = shapes == [(ways, frames), (ways, frames), (total, 4), (total,), (total,)]
        return found if fits else None

    def of(self, way: int) -> FrameBoxes:
        """The boxes of a way, frames counted from 0."""
        counts = self.counts[way].astype(np.int64)
        begin = int(self.counts[:way].sum())
        kept = slice(begin, begin + int(counts.sum()))
        boxes = Boxes(self.boxes_xyxy_px[kept], self.scores[kept], self.labels[kept])
        return FrameBoxes(np.repeat(np.arange(len(counts)), counts), boxes, len(counts))


_FIELDS = ("counts", "distances", "boxes_xyxy_px", "scores", "labels")


def run_piece(networks: Networks, ways: Sequence[Candidate], pictures: Iterable[np.ndarray]) -> PieceFound:
    """Run every way over the frames of a piece, each as a new stream.

    Args:
        networks: what they detect with.
        ways: to run.
        pictures: ``(H, W, 3)`` uint8 BGR each.

    Raises:
        ProviderError: if the engine fails.
    """
    executors = [networks.executor(way) for way in ways]
    found: list[list[Boxes]] = [[] for _ in ways]
    distances: list[list[int]] = [[] for _ in ways]
    for index, picture in enumerate(pictures):
        for way, executor in enumerate(executors):
            result = executor.run(Frame(picture, index))
            boxes = result.found.boxes
            found[way].append(boxes.select(boxes.scores >= LEAST_SCORE))
            distances[way].append(result.feature_age)
    every = [boxes for frames in found for boxes in frames]
    joined = Boxes.join([Boxes.empty(), *every])
    return PieceFound(
        np.array([[len(boxes) for boxes in frames] for frames in found], np.int32).reshape(len(ways), -1),
        np.array(distances, np.int32).reshape(len(ways), -1),
        joined.xyxy_px,
        joined.scores,
        joined.labels.astype(np.int32),
    )
