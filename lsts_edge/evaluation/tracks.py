"""The true path of each object through its video, and which of its boxes were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.evaluation.judging import judge

__all__ = ["FoundTrack", "Track", "found_tracks", "true_tracks"]


@dataclass(frozen=True)
class Track:
    """One object, in the L frames that show it.

    Attributes:
        video: the sequence.
        label: its class.
        images: ``(L,)`` int64, positions in ``AnnotationSet.images``, ascending.
        rows: ``(L,)`` int64, which box of each image it is.
        frames: ``(L,)`` int64, the video's own numbers of these frames.
        boxes_xyxy_px: ``(L, 4)`` float32, edges.
        starts_video: it is there in the first frame of the video already.
    """

    video: str
    label: int
    images: np.ndarray
    rows: np.ndarray
    frames: np.ndarray
    boxes_xyxy_px: np.ndarray
    starts_video: bool

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class FoundTrack:
    """A track and what was found of it.

    Attributes:
        track: the truth.
        found: ``(L,)`` bool.
        boxes_xyxy_px: ``(L, 4)`` float32, the boxes that found it; NaN where none did.
    """

    track: Track
    found: np.ndarray
    boxes_xyxy_px: np.ndarray


def true_tracks(annotations: AnnotationSet) -> list[Track]:
    """Tracks of all objects with an instance number; ignore boxes belong to none.

    Raises:
        AnnotationError: if no box has an instance number.
    """
    rows: dict[tuple[str, int, int], list[tuple[int, int, int, np.ndarray]]] = {}
    first: dict[str, int] = {}
    for position, record in enumerate(annotations.images):
        first.setdefault(record.video, position)
        for index in np.flatnonzero(~record.ignore & (record.instances >= 0)).tolist():
            key = (record.video, int(record.instances[index]), int(record.labels[index]))
            rows.setdefault(key, []).append((position, index, record.frame, record.boxes_xyxy_px[index]))
    if not rows:
        raise AnnotationError(
            f"annotations {annotations.path}",
            got="no instance_id",
            expected="the same instance_id on an object's boxes in all frames",
            fix="Leave out the measures that follow objects.",
        )
    return [
        Track(
            video,
            label,
            np.array([image for image, _, _, _ in steps]),
            np.array([row for _, row, _, _ in steps]),
            np.array([frame for _, _, frame, _ in steps]),
            np.stack([box for *_, box in steps]),
            steps[0][0] == first[video],
        )
        for (video, _, label), steps in rows.items()
    ]


def found_tracks(
    annotations: AnnotationSet,
    tracks: Sequence[Track],
    detections: Mapping[int, Boxes],
    *,
    shown_score: float,
    iou: float = 0.5,
) -> list[FoundTrack]:
    """Match shown boxes of the right class with the tracks, best score first.

    Args:
        annotations: what the tracks come from.
        tracks: of ``true_tracks``.
        detections: by image id.
        shown_score: boxes below it are not shown, so they find nothing.
        iou: overlap wanted.
    """
    rows = [detections.get(record.image_id, Boxes.empty()).as_edges() for record in annotations.images]
    found = FrameBoxes.join([row.select(row.scores >= shown_score) for row in rows])
    frame = np.concatenate([track.images for track in tracks])
    labels = np.concatenate([np.full(len(track), track.label) for track in tracks])
    boxes = np.concatenate([track.boxes_xyxy_px for track in tracks])
    truth = FrameBoxes(frame, Boxes(boxes, np.ones(len(frame), np.float32), labels), len(rows))
    taken_by = judge(truth, found, iou).taken_by
    hit = taken_by >= 0
    by = np.full((len(frame), 4), np.nan, np.float32)
    by[hit] = found.boxes.xyxy_px[taken_by[hit]]
    ends = np.cumsum([len(track) for track in tracks])[:-1]
    return [
        FoundTrack(track, one, where)
        for track, one, where in zip(tracks, np.split(hit, ends), np.split(by, ends), strict=True)
    ]
