"""AP50 by frames since the last keyframe: how what is carried on wears out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.centred_order import centred_order
from lsts_edge.evaluation.metrics import image_matches, mean_ap

__all__ = ["ap50_by_distance", "schedule_distances"]


def schedule_distances(
    annotations: AnnotationSet, keyframe_interval: float | None, *, centred: bool = False
) -> dict[int, int]:
    """Frames since the last keyframe, by image id, of a schedule that starts anew with each sequence.

    Args:
        annotations: the sequences.
        keyframe_interval: 2.5 is 2, 3, 2, 3 frames; None: every frame is a keyframe.
        centred: keyframes lie in the middle of their intervals, and frames before one count until it.
    """
    interval = keyframe_interval or 1
    found: dict[int, int] = {}
    for records in annotations.sequences().values():
        if centred:
            order, whole = centred_order(len(records), int(interval)), int(interval)
            for step, index in enumerate(order):
                found[records[index].image_id] = abs(index - order[step - step % whole])
            continue
        for index, record in enumerate(records):
            keyframes_before = math.ceil((index + 1) / interval) - 1
            found[record.image_id] = index - math.floor(keyframes_before * interval)
    return found


def ap50_by_distance(
    annotations: AnnotationSet, detections: Mapping[int, Boxes], distances: Mapping[int, int]
) -> dict[int, float | None]:
    """Mean AP50 over the classes that occur, for the frames of each distance; 0 is the keyframes themselves.

    Args:
        annotations: the truth.
        detections: by image id.
        distances: by image id.
    Raises:
        OptionError: if an image has no distance.
    """
    missing = sum(record.image_id not in distances for record in annotations.images)
    if missing:
        raise OptionError(
            "AP by distance from the keyframe",
            got=f"no distance for {missing} of {len(annotations.images)} images",
            expected="one for each",
            fix="Give --keyframe-interval, or a detection file that says feature_age.",
        )
    per_image = image_matches(annotations, detections, 0.5)
    result: dict[int, float | None] = {}
    for distance in sorted(set(distances.values())):
        value = mean_ap([per_image[r.image_id] for r in annotations.images if distances[r.image_id] == distance])
        result[distance] = None if np.isnan(value) else value
    return result
