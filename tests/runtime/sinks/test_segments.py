"""Segments: cut by the stream's own time, published as they end, and not lost by a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import av
import pytest

from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.runtime import Detector, Frame
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.outputs import Outputs
from lsts_edge.runtime.sinks.segments import SegmentedSink
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import read_pictures, small_clip, write_video

NOON = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)


def segmented(folder: Path, length_s: float = 1.0, **named: object) -> SegmentedSink:
    (sink,) = Outputs(rows=str(folder / "a.jsonl"), video=str(folder / "a.mp4"), segment_s=length_s).open(["x"], 25.0)
    assert isinstance(sink, SegmentedSink)
    return SegmentedSink(sink.outputs, length_s, rate_fps=25.0, now=lambda: NOON, **named)  # type: ignore[arg-type]


def test_each_segment_is_there_when_it_is_complete(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    seen: dict[int, list[str]] = {}

    def look(frame: Frame, detections: object) -> None:
        seen[frame.index] = sorted(name for name in os.listdir(folder) if not name.startswith("."))

    sink = segmented(folder)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(60)), [sink], on_result=look)
    first, second, third = (f"a-20261125T12000{second}Z" for second in range(3))
    assert seen[24] == [] and seen[25] == [f"{first}.jsonl", f"{first}.mp4"]
    rows = [
        [json.loads(line)["frame"] for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in (first, second, third)
    ]
    assert rows == [list(range(25)), list(range(25, 50)), list(range(50, 60))]
    assert [len(read_pictures(folder / f"{name}.mp4")) for name in (first, second, third)] == [25, 25, 10]
    expected = [f"{name}{end}" for name in (first, second, third) for end in (".jsonl", ".mp4")]
    assert [path.name for path in sink.published] == expected
    assert len(os.listdir(folder)) == 6


def test_a_segment_begins_with_a_keyframe_of_the_encoder(hand_made_bundle: Path, tmp_path: Path) -> None:
    sink = segmented(tmp_path)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(30)), [sink])
    for path in sink.published:
        if path.suffix == ".mp4":
            with av.open(str(path)) as container:
                packet = next(container.demux(video=0))
                assert packet.is_keyframe and packet.pts == 0


def test_names_never_meet(tmp_path: Path, hand_made_bundle: Path) -> None:
    """A second run of the same second takes the next free one."""
    for _ in range(2):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), [segmented(tmp_path)])
    names = sorted(name for name in os.listdir(tmp_path) if name.endswith(".mp4"))
    assert names == ["a-20261125T120000Z.mp4", "a-20261125T120001Z.mp4"]


def test_a_failing_segment_takes_back_its_own_files_alone(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    sink = segmented(folder)

    def spoil(frame: Frame, detections: object) -> None:
        if frame.index == 40:
            (folder / "a-20261125T120001Z.mp4").mkdir()  # the rows of this segment are published before it

    with pytest.raises(FileUnwritable):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(60)), [sink], on_result=spoil)
    left = sorted(os.listdir(folder))
    assert left == ["a-20261125T120000Z.jsonl", "a-20261125T120000Z.mp4", "a-20261125T120001Z.mp4"]


def test_pipes_are_not_cut_and_nothing_but_pipes_is_refused(tmp_path: Path) -> None:
    sinks = Outputs(rows="-", csv=str(tmp_path / "a.csv"), segment_s=60).open(["x"])
    assert [type(sink) for sink in sinks] == [JsonLinesSink, SegmentedSink]
    with pytest.raises(OptionError, match="no output that is a file"):
        Outputs(rows="-", segment_s=60).open(["x"])
    with pytest.raises(OptionError, match="at least a second"):
        Outputs(rows=str(tmp_path / "a.jsonl"), segment_s=0.5).open(["x"])


def start(root: Path, bundle: Path, clip: Path, folder: Path) -> subprocess.Popen[str]:
    words = ["run", bundle, clip, "--segment", "2h", "--output-video", folder / "a.mp4"]
    words += ["--output-json", folder / "a.jsonl", "--output-coco", folder / "a.json", "--output-csv", folder / "a.csv"]
    return subprocess.Popen(
        [sys.executable, "-m", "lsts_edge", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_a_killed_run_loses_two_seconds(root: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    """SIGKILL in the first segment: the next run in the folder publishes what was written, and it can be read."""
    clip = write_video(tmp_path / "clip.h264", small_clip(60), gop=60)
    clip.write_bytes(clip.read_bytes() * 500)  # a raw stream may simply be repeated
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(root, hand_made_bundle, clip, folder)
    for _ in range(2400):  # until some fragments are on the disk
        if sum(path.stat().st_size for path in folder.glob(".a-*.mp4.segment-*")) > 20_000:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not [name for name in os.listdir(folder) if not name.startswith(".")]

    words = ["run", hand_made_bundle, clip, "--max-frames", "1", "--output-csv", folder / "other.csv"]
    after = subprocess.run(
        [sys.executable, "-m", "lsts_edge", *words],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert after.returncode == 0, after.stderr
    assert "recovered what a killed run had written" in after.stderr
    recovered = {path.suffix: path for path in folder.glob("a-*-recovered.*")}
    assert set(recovered) == {".mp4", ".jsonl", ".json", ".csv"}
    rows = [json.loads(line) for line in recovered[".jsonl"].read_text().splitlines()]
    pictures = len(read_pictures(recovered[".mp4"]))
    assert 0 < pictures <= len(rows) <= pictures + 51  # fragments of 50 frames
    assert all(
        set(entry) == {"image_id", "category_id", "bbox", "score"}
        for entry in json.loads(recovered[".json"].read_text())
    )
    assert len(list(csv.DictReader(recovered[".csv"].open()))) > 0
    assert len(os.listdir(folder)) == 5


def test_a_recovery_replaces_nothing(tmp_path: Path) -> None:
    left = tmp_path / f".a-1.jsonl.segment-{'0' * 16}"
    left.write_text('{"frame": 0}\n{"fra')
    (tmp_path / "a-1-recovered.jsonl").write_text("here first\n")
    JsonLinesSink(tmp_path / "b.jsonl")
    assert (tmp_path / "a-1-recovered.jsonl").read_text() == "here first\n"
    (tmp_path / "a-1-recovered.jsonl").unlink()
    JsonLinesSink(tmp_path / "b.jsonl")
    assert (tmp_path / "a-1-recovered.jsonl").read_text() == '{"frame": 0}\n'
    assert not left.exists()


def test_time_that_jumps_cuts_nothing(hand_made_bundle: Path, tmp_path: Path) -> None:
    """Stamps an hour back and forth count as the usual step."""
    sink = SegmentedSink({tmp_path / "a.jsonl": JsonLinesSink}, 60.0, rate_fps=25.0, now=lambda: NOON)
    detector = Detector(hand_made_bundle)
    for index, picture in enumerate(small_clip(20)):
        frame = Frame(picture, index, 3600.0 * (-1) ** index)
        sink.write(frame, detector.push(picture, frame.time_s))
    sink.finish()
    sink.publish()
    sink.settle()
    assert len(sink.published) == 1
