"""Seq-NMS: boxes of one class that follow each other through a video share one score; over a whole video or online."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields

__all__ = ["OnlineSeqNms", "SeqNmsOptions", "seq_nms"]


@dataclass(frozen=True)
class SeqNmsOptions:
    """Limits of Han et al., arXiv 1602.08465.

    Attributes:
        link_iou: boxes of neighbouring frames that overlap by this much may be the same object.
        nms_iou: what overlaps a chosen box by this much, in its frame, goes.
    """

    link_iou: float = 0.5
    nms_iou: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("link_iou", "nms_iou"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:  # false for NaN too
                raise OptionError(f"Seq-NMS: {name}", got=value, expected="above 0, at most 1", fix="Use the default.")


def seq_nms(frames: Sequence[Boxes], options: SeqNmsOptions | None = None) -> list[Boxes]:
    """Rescore and suppress along whole videos.

    For each class: of all paths over linked boxes in neighbouring frames take the one of the highest summed score, give
    its boxes their mean score, drop what overlaps them in their frames, and begin again with what is left, until
    nothing is. Among equals the earliest frame and the first box win.

    Args:
        frames: of one video, in order.
        options: limits; None takes the defaults.

    Returns:
        The boxes that stay with their new scores, best first, for each frame.
    """
    chosen = options or SeqNmsOptions()
    scores = [boxes.scores.astype(np.float64) for boxes in frames]
    keep = [np.zeros(len(boxes), bool) for boxes in frames]
    for label in np.unique(np.concatenate([boxes.labels for boxes in frames])) if frames else ():
        members = [np.flatnonzero(boxes.labels == label) for boxes in frames]
        parts = [boxes.select(which) for boxes, which in zip(frames, members, strict=True)]
        for path, mean in _Paths(parts, chosen).taken():
            for frame, index in path:
                keep[frame][members[frame][index]] = True
                scores[frame][members[frame][index]] = mean
    return [_kept(boxes, *found) for boxes, *found in zip(frames, scores, keep, strict=True)]


class OnlineSeqNms:
    """Seq-NMS that never looks ahead: each frame's boxes as ``seq_nms`` gives them over the frames up to it.

    Args:
        window_frames: how many frames it looks at, the newest among them.
        options: limits; None takes the defaults.

    Raises:
        OptionError: if the window is out of range.
    """

    def __init__(self, window_frames: int = 10, options: SeqNmsOptions | None = None) -> None:
        if not 1 <= window_frames <= 1000:
            raise OptionError("Seq-NMS: window", got=window_frames, expected="1..1000 frames", fix="Use 10 if unsure.")
        self._options = options
        self._frames: deque[Boxes] = deque(maxlen=window_frames)

    def push(self, boxes: Boxes) -> Boxes:
        """The next frame's boxes, rescored by the past; what later frames see of them are those that came in."""
        self._frames.append(boxes)
        return seq_nms(list(self._frames), self._options)[-1]

    def reset(self) -> None:
        """Forget the past: another video begins."""
        self._frames.clear()


def _kept(boxes: Boxes, scores: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_]) -> Boxes:
    order = np.flatnonzero(keep)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Boxes(boxes.xyxy_px[order], scores[order].astype(np.float32), boxes.labels[order], boxes.corners)


class _Paths:
    """The best paths through one class's boxes, one after the other.

    ``best[t][i]`` is the highest sum of a path that ends at box i of frame t. A path that is taken changes only frames
    from its first one on, and no further than its changes reach, so only those are worked out again.
    """

    def __init__(self, frames: Sequence[Boxes], options: SeqNmsOptions) -> None:
        self.scores = [boxes.scores.astype(np.float64) for boxes in frames]
        self.alive = [np.ones(len(boxes), bool) for boxes in frames]
        self.rivals = [boxes.iou(boxes) >= options.nms_iou for boxes in frames]
        self.links = [before.iou(after) >= options.link_iou for before, after in pairwise(frames)]
        self.best = [np.zeros(len(boxes)) for boxes in frames]
        self.before = [np.full(len(boxes), -1) for boxes in frames]
        self.peak = np.full(len(frames), -np.inf)
        self._update(0, len(frames) - 1)

    def taken(self) -> list[tuple[list[tuple[int, int]], float]]:
        """Paths as (frame, index) and their mean scores, until no box is left."""
        found = []
        while len(self.peak) and np.isfinite(self.peak.max()):
            frame = int(self.peak.argmax())
            index = int(np.where(self.alive[frame], self.best[frame], -np.inf).argmax())
            total, path = self.best[frame][index], []
            while True:
                path.append((frame, index))
                if self.before[frame][index] < 0:
                    break
                frame, index = frame - 1, int(self.before[frame][index])
            path.reverse()
            found.append((path, total / len(path)))
            for frame, index in path:
                self.alive[frame] &= ~self.rivals[frame][index]
                self.alive[frame][index] = False  # an empty box overlaps nothing, itself neither
            self._update(path[0][0], path[-1][0])
        return found

    def _update(self, first: int, last: int) -> None:
        """Work out ``best`` from frame ``first`` on: to ``last``, and then as far as anything changes."""
        for frame in range(first, len(self.scores)):
            best, before = self.scores[frame].copy(), np.full(len(self.scores[frame]), -1)
            if frame and len(best) and len(self.best[frame - 1]):
                linked = self.links[frame - 1] & self.alive[frame - 1][:, None]
                sums = np.where(linked, self.best[frame - 1][:, None], 0.0)
                before = np.where(sums.max(axis=0) > 0.0, sums.argmax(axis=0), -1)
                best += sums.max(axis=0)
            same = np.array_equal(best, self.best[frame]) and np.array_equal(before, self.before[frame])
            self.best[frame], self.before[frame] = best, before
            alive = best[self.alive[frame]]
            self.peak[frame] = alive.max() if len(alive) else -np.inf
            if frame > last and same:
                return
