"""The contact sheet shows keyframes and what was propagated from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detections, Detector, Frame
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.contact_sheet import ContactSheetSink, row_starts, shown_ages
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip


def test_rows_are_spread_over_the_clip_and_frames_over_a_row() -> None:
    assert row_starts(280, 10, 3) == [40, 140, 230]
    assert row_starts(12, 10, 4) == row_starts(1, 10, 4) == [0]
    assert row_starts(3, 1, 2) == [0, 2]
    assert shown_ages(10, 4) == [0, 3, 6, 9]
    assert shown_ages(10, 1) == shown_ages(1, 4) == [0]


def test_a_row_goes_from_a_keyframe_to_the_next_wherever_they_are(tmp_path: Path) -> None:
    sink = ContactSheetSink(tmp_path / "sheet.png", title="", frame_count=30, interval=6, rows=2, columns=3)
    keyframes, age = (0, 6, 9, 15, 17, 19, 25), 0
    for index, picture in enumerate(small_clip(30, 60, 100)):
        age = 0 if index in keyframes else age + 1
        kind: FrameKind = "propagated" if age else "keyframe"
        sink.write(Frame(picture, index), Detections(index, None, kind, age, Boxes.empty(), ()))
    # Rows begin at the first keyframes from 6 and from 18 on; ages 0, 2 and 5 are shown, as far as there are any.
    assert row_starts(30, 6, 2) == [6, 18] and shown_ages(6, 3) == [0, 2, 5]
    assert [len(row) for row in sink._rows] == [2, 3]
    sink.finish()
    sink.publish()
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (48 + 2 * (240 + 30 + 12), 3 * 412 + 12, 3)


@pytest.mark.parametrize("count", [1, 7, 45])
def test_the_picture_has_a_tile_for_each(hand_made_bundle: Path, tmp_path: Path, count: int) -> None:
    path = tmp_path / "sheet.png"
    sink = ContactSheetSink(path, title="test", frame_count=count, interval=10, tile_width_px=200)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(count, 60, 100)), [sink])
    sheet = cv2.imread(str(path))
    rows = {1: 1, 7: 1, 45: 4}[count]
    tiles = min(count, 4)
    assert sheet.shape == (48 + rows * (120 + 30 + 12), tiles * 212 + 12, 3)
    dark = (sheet[48:168] < 200).any(axis=2).mean(axis=0)
    assert (dark[12 : 12 + tiles * 212 - 12] > 0).mean() > 0.9
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.png"):
        ContactSheetSink(tmp_path / "sheet.jpg", title="", frame_count=1, interval=1)
