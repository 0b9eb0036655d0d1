"""An exception in somebody's callback or sink ends the run at once, with the original error and nothing left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from threads import left_running

from lsts_edge.runtime import Detections, Detector, Frame, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from videos import small_clip, write_video


class Planted(Exception):
    """Raised on purpose."""


class FailingSink(Sink):
    def __init__(self, at: int, finishing: bool = False) -> None:
        super().__init__()
        self.at, self.finishing, self.ended = at, finishing, ""

    def write(self, frame: Frame, detections: Detections) -> None:
        if frame.index == self.at:
            raise Planted("sink")

    def finish(self) -> None:
        self.ended = "finished"
        if self.finishing:
            raise Planted("finish")

    def abandon(self) -> None:
        self.ended = "abandoned"


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("at", [0, 10, 23])
@pytest.mark.parametrize("where", ["callback", "sink"])
def test_the_original_error_comes_out_and_nothing_stays(
    hand_made_bundle: Path, tmp_path: Path, where: str, at: int, live: bool
) -> None:
    source = open_source(write_video(tmp_path / "clip.mp4", small_clip(24)))
    if live:
        source = DropOldest(source, depth=24)
    sink = FailingSink(at if where == "sink" else -1)
    outputs = [JsonLinesSink(tmp_path / "out.jsonl"), VideoSink(tmp_path / "out.mp4"), sink]

    def callback(frame: Frame, detections: Detections) -> None:
        if where == "callback" and frame.index == at:
            raise Planted("callback")

    detector = Detector(hand_made_bundle)
    with pytest.raises(Planted, match=where):
        run_stream(detector, source, outputs, on_result=callback)
    assert sink.ended == "abandoned"
    assert sorted(os.listdir(tmp_path)) == ["bundle", "clip.mp4"]
    assert source.closed
    assert left_running("reader of") == []
    assert detector.push(small_clip(1)[0]).frame == at + 1  # still usable


def test_a_sink_that_cannot_finish_takes_the_others_with_it(hand_made_bundle: Path, tmp_path: Path) -> None:
    outputs = [FailingSink(-1, finishing=True), JsonLinesSink(tmp_path / "out.jsonl")]
    source = open_source(write_video(tmp_path / "clip.mp4", small_clip(5)))
    with pytest.raises(Planted, match="finish"):
        run_stream(Detector(hand_made_bundle), source, outputs)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "clip.mp4"]
