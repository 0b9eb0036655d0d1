"""An exception in somebody's callback or sink ends the run at once, with the original error and nothing left over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from threads import left_running

from lsts_edge.runtime import Detections, Detector, Frame, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo, Scheduler
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.interface import Source
from lsts_edge.runtime.sources.reconnecting import Reconnecting
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


class FailingScheduler(Scheduler):
    def __init__(self, at: int) -> None:
        self.at = at

    def for_stream(self) -> FailingScheduler:
        return FailingScheduler(self.at)

    def decide(self, info: FrameInfo) -> Decision:
        if info.frame == self.at:
            self.at = -1
            raise Planted("scheduler")
        return Decision(False, "never")


class FailingReader(Source):
    """Whatever a decoder may raise that is no error of ours: a bug, memory that is all used."""

    def __init__(self, source: Source, at: int) -> None:
        self.source, self.at = source, at

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.source:
            if frame.index == self.at:
                raise Planted("reader")
            yield frame

    def close(self) -> None:
        super().close()
        self.source.close()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("at", [0, 10, 23])
@pytest.mark.parametrize("where", ["callback", "sink", "scheduler", "reader"])
def test_the_original_error_comes_out_and_nothing_stays(
    hand_made_bundle: Path, tmp_path: Path, where: str, at: int, live: bool
) -> None:
    at = max(at, 1) if where == "scheduler" else at  # the first frame is a keyframe whoever is asked
    source = open_source(write_video(tmp_path / "clip.mp4", small_clip(24)))
    if where == "reader":
        source = FailingReader(source, at)
    if live:
        source = DropOldest(source, depth=24)
    sink = FailingSink(at if where == "sink" else -1)
    outputs = [JsonLinesSink(tmp_path / "out.jsonl"), VideoSink(tmp_path / "out.mp4"), sink]

    def callback(frame: Frame, detections: Detections) -> None:
        if where == "callback" and frame.index == at:
            raise Planted("callback")

    detector = Detector(hand_made_bundle, scheduler=FailingScheduler(at if where == "scheduler" else -1))
    with pytest.raises(Planted, match=where):
        run_stream(detector, source, outputs, on_result=callback)
    assert sink.ended == "abandoned"
    assert sorted(os.listdir(tmp_path)) == ["bundle", "clip.mp4"]
    assert source.closed
    assert left_running("reader of") == []
    assert detector.push(small_clip(1)[0]).frame == at + (where in ("callback", "sink"))  # still usable


def test_a_sink_that_cannot_finish_takes_the_others_with_it(hand_made_bundle: Path, tmp_path: Path) -> None:
    outputs = [FailingSink(-1, finishing=True), JsonLinesSink(tmp_path / "out.jsonl")]
    source = open_source(write_video(tmp_path / "clip.mp4", small_clip(5)))
    with pytest.raises(Planted, match="finish"):
        run_stream(Detector(hand_made_bundle), source, outputs)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "clip.mp4"]


def test_a_bug_in_the_reading_thread_of_a_camera_is_no_loss_to_wait_for(hand_made_bundle: Path, tmp_path: Path) -> None:
    """It would come again with every connection: it ends the run, with its own lines, and is not tried for ever."""
    clip = write_video(tmp_path / "clip.mp4", small_clip(24))
    source = Reconnecting(lambda _: FailingReader(open_source(clip), 10), name="camera")
    with pytest.raises(Planted, match="reader") as caught:
        run_stream(Detector(hand_made_bundle), DropOldest(source), [JsonLinesSink(tmp_path / "out.jsonl")])
    assert any(entry.name == "__iter__" and "test_exceptions" in str(entry.path) for entry in caught.traceback)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "clip.mp4"]
    assert left_running("connection of") == left_running("reader of") == []
