"""Small annotation sets and boxes that can be judged by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord

__all__ = ["boxes_of", "moving_objects"]

Box = tuple[float, float, float, float]


def moving_objects(
    paths: Mapping[int, Sequence[Box | None]], *, labels: Mapping[int, int] | None = None, video: str = "v"
) -> AnnotationSet:
    """One video of frames 1, 2 ... with an object per instance number; None: it is out of sight."""
    frames = max(map(len, paths.values()))
    images = []
    for frame in range(frames):
        shown = [(key, path[frame]) for key, path in paths.items() if frame < len(path) and path[frame] is not None]
        images.append(
            ImageRecord(
                image_id=frame + 1,
                path=Path("none.png"),
                video=video,
                frame=frame,
                height_px=200,
                width_px=200,
                boxes_xyxy_px=np.array([box for _, box in shown], np.float32).reshape(-1, 4),
                labels=np.array([(labels or {}).get(key, 0) for key, _ in shown], np.int64),
                ignore=np.zeros(len(shown), bool),
                instances=np.array([key for key, _ in shown], np.int64),
            )
        )
    return AnnotationSet(Path("made.json"), ("car", "bird"), tuple(images))


def boxes_of(*rows: tuple[Box, float] | tuple[Box, float, int]) -> Boxes:
    """Boxes with scores and, if given, labels."""
    xyxy = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    labels = np.array([row[2] if len(row) > 2 else 0 for row in rows], np.int64)
    return Boxes(xyxy, np.array([row[1] for row in rows], np.float32), labels)
