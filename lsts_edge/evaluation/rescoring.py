"""Seq-NMS over the detections of annotated sequences, by image id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.seq_nms import OnlineSeqNms, SeqNmsOptions, seq_nms

__all__ = ["Rescoring", "rescored"]

Rescoring = Literal["offline", "online"]
"""Each frame by its whole sequence, or by the frames before it alone."""

ONLINE_FRAMES = 10


def rescored(
    truth: AnnotationSet, found: Mapping[int, Boxes], how: Rescoring, options: SeqNmsOptions | None = None
) -> dict[int, Boxes]:
    """The detections with Seq-NMS applied to each sequence.

    Args:
        truth: which images are a sequence, in order.
        found: detections by image id; an image that is missing has none.
        how: over whole sequences, or online over the newest ``ONLINE_FRAMES``.
        options: limits; None takes the defaults.
    """
    results: dict[int, Boxes] = {}
    for records in truth.sequences().values():
        ids = [record.image_id for record in records]
        frames = [found.get(image_id, Boxes.empty()) for image_id in ids]
        if how == "offline":
            frames = seq_nms(frames, options)
        else:
            online = OnlineSeqNms(ONLINE_FRAMES, options)
            frames = [online.push(frame) for frame in frames]
        results.update(zip(ids, frames, strict=True))
    return results
