"""Segments: cut by the stream's own time, published as they end, and not lost by a kill."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import av
import pytest
from running import start_program, wait_for_output, write_long_clip

from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.runtime import Detector, Frame
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.outputs import Outputs
from lsts_edge.runtime.sinks.recovery import recover
from lsts_edge.runtime.sinks.segments import SegmentedSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import read_pictures, small_clip

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


def test_a_second_run_never_takes_a_name_that_the_first_is_to_give(hand_made_bundle: Path, tmp_path: Path) -> None:
    """Two containers begin in the same second; the first one's files are still hidden then."""
    sinks = [segmented(tmp_path), segmented(tmp_path)]
    picture = small_clip(1)[0]
    for sink in sinks:
        sink.write(Frame(picture, 0, 0.0), Detector(hand_made_bundle).push(picture, 0.0))
    for sink in sinks:
        sink.finish()
        sink.publish()
        sink.settle()
    names = sorted(name for name in os.listdir(tmp_path) if name.startswith("a-"))
    assert names == [f"a-20261125T12000{second}Z.{end}" for second in (0, 1) for end in ("jsonl", "mp4")]


class _Full(VideoSink):
    """Its last bytes find no space; everything before is the real sink."""

    def finish(self) -> None:
        super().finish()
        raise FileUnwritable("cannot write", got="No space left", expected="space", fix="Free some.")


def test_a_failing_segment_takes_back_its_own_files_alone(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    sink = segmented(folder)

    def spoil(frame: Frame, detections: object) -> None:
        if frame.index == 20:
            sink.outputs[folder / "a.mp4"] = lambda path: _Full(path, recoverable=True)  # type: ignore[index]

    with pytest.raises(FileUnwritable, match="No space left"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(60)), [sink], on_result=spoil)
    assert sorted(os.listdir(folder)) == ["a-20261125T120000Z.jsonl", "a-20261125T120000Z.mp4"]


def test_a_folder_that_goes_away_is_told(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def remove(frame: Frame, detections: object) -> None:
        if frame.index == 30:
            folder.rename(tmp_path / "elsewhere")

    with pytest.raises(FileUnwritable, match=r"cannot write .*a-20261125T120001Z"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(60)), [segmented(folder)], on_result=remove)
    assert len(list((tmp_path / "elsewhere").glob("a-20261125T120000Z.*"))) == 2


def test_an_error_elsewhere_keeps_the_segment_under_way(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def fail(frame: Frame, detections: object) -> None:
        if frame.index == 32:
            raise ValueError("of the callback")

    outputs = [segmented(folder), JsonLinesSink(tmp_path / "whole.jsonl")]
    with pytest.raises(ValueError, match="of the callback"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(60)), outputs, on_result=fail)
    assert not (tmp_path / "whole.jsonl").exists()  # a whole file is whole or not there, as ever
    rows = [len(path.read_text().splitlines()) for path in sorted(folder.glob("*.jsonl"))]
    assert rows == [len(read_pictures(path)) for path in sorted(folder.glob("*.mp4"))] == [25, 8]
    assert len(os.listdir(folder)) == 4


def test_another_outputs_error_at_the_end_keeps_it_too(hand_made_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    outputs = [segmented(folder), _Full(tmp_path / "whole.mp4")]
    with pytest.raises(FileUnwritable, match="No space left"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(30)), outputs)
    assert [len(path.read_text().splitlines()) for path in sorted(folder.glob("*.jsonl"))] == [25, 5]
    assert len(os.listdir(folder)) == 4 and not (tmp_path / "whole.mp4").exists()


def test_a_long_outage_ends_a_segment_and_a_short_one_does_not(hand_made_bundle: Path, tmp_path: Path) -> None:
    sink = segmented(tmp_path, 600.0)
    detector = Detector(hand_made_bundle)
    frames = [(0.0, 0), (0.04, 0), (9.0, 1), (9.04, 1), (3600.0, 2), (3600.04, 2)]
    for (time_s, reconnects), picture in zip(frames, small_clip(len(frames)), strict=True):
        frame = Frame(picture, 0, time_s, reconnects=reconnects)
        sink.write(frame, detector.push(picture, time_s))
    sink.finish()
    sink.publish()
    sink.settle()
    assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob("*.jsonl"))] == [4, 2]


def test_fragments_are_of_two_seconds_whatever_the_rate(hand_made_bundle: Path, tmp_path: Path) -> None:
    """A camera of 25 frames a second, of which a slow detector takes two."""
    video = VideoSink(tmp_path / "a.mp4", rate_fps=25.0, recoverable=True)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(20), rate_fps=2.0), [video])
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
    assert times == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_pipes_are_not_cut_and_nothing_but_pipes_is_refused(tmp_path: Path) -> None:
    sinks = Outputs(rows="-", csv=str(tmp_path / "a.csv"), segment_s=60).open(["x"])
    assert [type(sink) for sink in sinks] == [JsonLinesSink, SegmentedSink]
    with pytest.raises(OptionError, match="no output that is a file"):
        Outputs(rows="-", segment_s=60).open(["x"])
    with pytest.raises(OptionError, match="at least a second"):
        Outputs(rows=str(tmp_path / "a.jsonl"), segment_s=0.5).open(["x"])


def start(bundle: Path, clip: Path, folder: Path) -> subprocess.Popen[str]:
    outputs = (
        "--output-json",
        folder / "a.jsonl",
        "--output-coco",
        folder / "a.json",
        "--output-csv",
        folder / "a.csv",
    )
    return start_program("run", bundle, clip, "--segment", "2h", "--output-video", folder / "a.mp4", *outputs)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_completes_the_segment_under_way(
    hand_made_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    clip = write_long_clip(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(hand_made_bundle, clip, folder)
    wait_for_output(process, folder, ".a-*.mp4.segment-*")
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    found = {path.suffix: path for path in folder.iterdir()}
    assert set(found) == {".mp4", ".jsonl", ".json", ".csv"} and len(os.listdir(folder)) == 4
    rows = len(found[".jsonl"].read_text().splitlines())
    assert 0 < rows == len(read_pictures(found[".mp4"])) < 30_000
    assert len(json.loads(found[".json"].read_text())) == rows
    assert all(str(path) in out for path in found.values())  # the summary names them


def test_a_killed_run_loses_two_seconds(root: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    """SIGKILL in the first segment: the next run in the folder publishes what was written, and it can be read."""
    clip = write_long_clip(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(hand_made_bundle, clip, folder)
    wait_for_output(process, folder, ".a-*.mp4.segment-*", 20_001)  # some fragments are on the disk
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


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize(
    ("name", "left", "kept"),
    [
        ("a.jsonl", '{"frame": 0}\n{"fra', '{"frame": 0}\n'),
        ("a.jsonl", '{"fra', None),
        ("a.jsonl", "", None),
        ("a.json", '{"frame": 0}\n{"fra', '{"frame": 0}\n'),  # rows under a name that means a list
        ("a.json", '[\n{"a": 1},\n{"b": 2},\n{"c"', '[\n{"a": 1},\n{"b": 2}\n]\n'),
        ("a.json", "[\n", "[\n]\n"),
        ("a.mp4", "\0\0\0\x18ftypiso5\0\0\2\0iso5iso6", None),
        ("a.mkv", "\x1aE", None),
    ],
)
def test_leftovers_are_cut_after_their_last_whole_piece(
    tmp_path: Path, name: str, left: str, kept: str | None, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And replace nothing, on a memory card's file system too; what nobody could read is removed."""
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    path = tmp_path / name
    (tmp_path / f".{name}.segment-{'0' * 16}").write_text(left)
    (tmp_path / f"a-recovered{path.suffix}").write_text("of the kill before")
    JsonLinesSink(tmp_path / "b.jsonl")
    found = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert found.pop(f"a-recovered{path.suffix}") == "of the kill before"
    assert found == ({} if kept is None else {f"a-recovered-2{path.suffix}": kept})


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_is_recovered_from_any_length(hand_made_bundle: Path, tmp_path: Path, suffix: str) -> None:
    """What a full disk or a power cut could leave: readable to its end, never less than of a shorter one."""
    video = VideoSink(tmp_path / f"a{suffix}", recoverable=True)
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(200, 48, 64)), [video])
    content = (tmp_path / f"a{suffix}").read_bytes()
    counts = []
    for part in range(1, 12):
        (tmp_path / "left").write_bytes(content[: len(content) * part // 11])
        found = recover(tmp_path / "left", tmp_path / f"{part}{suffix}")
        counts.append(len(read_pictures(found)) if found else 0)
    assert counts == sorted(counts) and counts[-1] == 200
    assert suffix == ".mkv" or set(counts) <= {0, 50, 100, 150, 200}  # whole fragments


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
