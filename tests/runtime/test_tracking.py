"""Track ids: one number an object, through crossings and gaps; a new one after a cut."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trackers")

from lsts_edge.boxes import Boxes
from lsts_edge.runtime import Detections
from lsts_edge.runtime.tracking import TrackIds


def frame(index: int, boxes: list[list[float]], reset: str | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        index,
        index / 25,
        "keyframe",
        0,
        Boxes(np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.8, np.float32), np.zeros(count, np.int64)),
        ("thing",) * count,
        reset_reason=reset,
    )


def test_two_objects_keep_their_numbers_in_any_order() -> None:
    tracks = TrackIds(25.0)
    numbers = []
    for index in range(12):
        walker, standing = [10 + 4 * index, 10, 60 + 4 * index, 90], [300, 50, 360, 120]
        boxes = [walker, standing] if index % 2 else [standing, walker]
        ids = tracks.update(frame(index, boxes)).track_ids.tolist()
        numbers.append(tuple(ids if index % 2 else reversed(ids)))
    assert len(set(numbers[3:])) == 1
    assert len(set(numbers[-1])) == 2 and min(numbers[-1]) >= 0


def test_a_gap_of_some_frames_keeps_the_number_and_a_reset_does_not() -> None:
    tracks = TrackIds(25.0)
    box = [100, 100, 180, 200]
    before = [tracks.update(frame(index, [box])).track_ids[0] for index in range(5)][-1]
    for index in range(5, 8):
        assert len(tracks.update(frame(index, [])).track_ids) == 0
    assert tracks.update(frame(8, [box])).track_ids.tolist() == [before]
    after = [tracks.update(frame(index, [box], "scene-cut" if index == 9 else None)) for index in range(9, 14)]
    assert after[0].track_ids.tolist() == [-1]
    assert after[-1].track_ids[0] > before  # no number is used twice in a run


def test_rows_say_the_number() -> None:
    tracks = TrackIds()
    rows = [tracks.update(frame(index, [[10, 10, 50, 50]])).to_row() for index in range(4)]
    assert "track_id" in rows[-1]["detections"][0]
