"""Boxes of a whole run in one compressed file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lsts_edge.boxes import Boxes

__all__ = ["load_boxes", "save_boxes"]


def save_boxes(path: Path, boxes: Mapping[int, Boxes]) -> None:
    """Write boxes by image id, in one step."""
    ids = sorted(boxes)
    joined = Boxes.join([Boxes.empty(), *(boxes[key].as_edges() for key in ids)])
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        np.savez_compressed(
            stream,
            ids=np.array(ids, np.int64),
            counts=np.array([len(boxes[key]) for key in ids], np.int64),
            xyxy_px=joined.xyxy_px,
            scores=joined.scores,
            labels=joined.labels,
        )
    os.replace(part, path)


def load_boxes(path: Path) -> dict[int, Boxes]:
    """What ``save_boxes`` wrote; corners as edges."""
    with np.load(path, allow_pickle=False) as stored:
        joined = Boxes(stored["xyxy_px"], stored["scores"], stored["labels"])
        ends = np.cumsum(stored["counts"])
        return {
            int(key): joined.select(np.arange(end - count, end))
            for key, count, end in zip(stored["ids"], stored["counts"], ends, strict=True)
        }
