"""The contact sheet shows keyframes and what was propagated from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detector
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.contact_sheet import ContactSheetSink, chosen_frames
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip


def test_frames_are_spread_over_the_clip_and_each_segment() -> None:
    assert chosen_frames(280, 10, 3, 4) == [40, 43, 46, 49, 140, 143, 146, 149, 230, 233, 236, 239]
    assert chosen_frames(280, 10, 3, 1) == [40, 140, 230]
    assert chosen_frames(12, 10, 4, 4) == [0, 3, 6, 9]
    assert chosen_frames(3, 1, 2, 4) == [0, 2]
    assert chosen_frames(1, 10, 4, 4) == [0]


@pytest.mark.parametrize("count", [1, 7, 45])
def test_the_picture_has_a_tile_for_each(hand_made_bundle: Path, tmp_path: Path, count: int) -> None:
    path = tmp_path / "sheet.png"
    sink = ContactSheetSink(path, title="test", frame_count=count, interval=10, tile_width_px=200)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(count, 60, 100)), [sink])
    sheet = cv2.imread(str(path))
    rows = {1: 1, 7: 1, 45: 4}[count]
    tiles = min(count, 4)
    assert sheet.shape == (48 + rows * (120 + 30 + 12), 4 * 212 + 12, 3)
    dark = (sheet[48:168] < 200).any(axis=2).mean(axis=0)
    assert (dark[12 : 12 + tiles * 212 - 12] > 0).mean() > 0.9
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.png"):
        ContactSheetSink(tmp_path / "sheet.jpg", title="", frame_count=1, interval=1)
