"""JSON lines and H.264 video: right, and whole or absent."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import FileUnwritable, OptionError, ShapeError
from lsts_edge.runtime import Detections, Frame
from lsts_edge.runtime.sinks.drawing import annotate
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from videos import read_pictures, small_clip


def result(index: int = 0, boxes: list[list[float]] | None = None, kind: str = "keyframe") -> Detections:
    boxes = [] if boxes is None else boxes
    return Detections(
        index,
        index / 25,
        kind,  # type: ignore[arg-type]
        0 if kind != "propagated" else 3,
        Boxes(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.linspace(0.9, 0.5, len(boxes)).astype(np.float32),
            np.arange(len(boxes)),
        ),
        tuple(f"class{i}" for i in range(len(boxes))),
    )


def write(sink: Sink, pictures: list[np.ndarray], times_s: list[float | None] | None = None) -> None:
    for index, picture in enumerate(pictures):
        time_s = index / 25 if times_s is None else times_s[index]
        sink.write(Frame(picture, index, time_s), result(index))
    sink.finish()
    sink.publish()


def test_each_frame_is_a_line(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl")
    for index in range(3):
        sink.write(Frame(np.zeros((8, 8, 3), np.uint8), index), result(index, [[1, 2, 3, 4.25]]))
        assert os.listdir(tmp_path) != ["out.jsonl"]
    sink.finish()
    sink.publish()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert rows[0]["detections"] == [{"label": "class0", "score": 0.9, "box_xyxy_px": [1.0, 2.0, 3.0, 4.25]}]
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("size", [(96, 128), (97, 128), (96, 129), (97, 129), (33, 17)])
def test_the_video_holds_the_frames(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = small_clip(6, *size)
    write(VideoSink(tmp_path / "out.mp4", tag=False), clip)
    found = read_pictures(tmp_path / "out.mp4")
    assert len(found) == 6
    assert found[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for picture, original in zip(found, clip, strict=True):
        assert np.abs(picture[: size[0], : size[1]].astype(int) - original).mean() < 16
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_times_are_kept_and_jumps_are_not(tmp_path: Path) -> None:
    times_s = [10.0, 10.04, 10.5, 9000.0, 3.0, 3.1, None]
    write(VideoSink(tmp_path / "out.mp4", rate_fps=25), small_clip(7), times_s)
    with av.open(str(tmp_path / "out.mp4")) as container:
        found = [float(frame.time or 0.0) for frame in container.decode(video=0)]
    assert found == pytest.approx([0, 0.04, 0.5, 0.54, 0.58, 0.68, 0.72], abs=2e-3)


def test_a_later_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    pictures = [np.full((60, 80, 3), 200, np.uint8), np.full((60, 40, 3), 200, np.uint8)]
    write(VideoSink(tmp_path / "out.mp4", tag=False), pictures)
    second = read_pictures(tmp_path / "out.mp4")[1]
    assert second.shape == (60, 80, 3)
    assert second[:, 25:55].mean() > 180
    assert second[:, :15].mean() < 30


@pytest.mark.parametrize("make", [lambda path: JsonLinesSink(path / "a.jsonl"), lambda path: VideoSink(path / "a.mp4")])
def test_abandoned_outputs_leave_nothing_and_spare_what_was_there(tmp_path: Path, make: object) -> None:
    (tmp_path / "a.jsonl").write_text("before")
    (tmp_path / "a.mp4").write_text("before")
    sink = make(tmp_path)  # type: ignore[operator]
    for index, picture in enumerate(small_clip(3)):
        sink.write(Frame(picture, index), result(index))
    sink.abandon()
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "a.mp4"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"before"}


def test_paths_that_cannot_be_written_are_refused_before_a_frame(tmp_path: Path) -> None:
    for sink in (JsonLinesSink, VideoSink):
        with pytest.raises(FileUnwritable, match="no directory") as missing:
            sink(tmp_path / "missing" / "out.mp4")
        assert str(missing.value).count("cannot write") == 1  # an error told once, not within itself
        (tmp_path / "taken.mp4").mkdir(exist_ok=True)
        with pytest.raises(FileUnwritable, match="a directory there"):
            sink(tmp_path / "taken.mp4")
    with pytest.raises(OptionError, match=r"\.mp4"):
        VideoSink(tmp_path / "out.gif")


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_sinks import result
from lsts_edge.boxes import Boxes
from lsts_edge.errors import FileUnwritable
from lsts_edge.runtime import Frame
from lsts_edge.runtime.sinks import JsonLinesSink, VideoSink
from lsts_edge.runtime.loop import run_stream
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
path = Path(sys.argv[1])
sink = VideoSink(path) if path.suffix == ".mp4" else JsonLinesSink(path)
noise = np.random.RandomState(0)
try:
    for index in range(3000):
        sink.write(Frame(noise.randint(0, 255, (96, 96, 3)).astype(np.uint8), index), result(index, [[1, 2, 3, 4]]))
    sink.finish()
    sink.publish()
except FileUnwritable as error:
    sink.abandon()
    print("told:", error)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.jsonl"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, root: Path, name: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    words = [sys.executable, "-c", _FULL_DISK, str(target / name), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=250)
    assert done.stdout.startswith("told: cannot write"), done.stdout + done.stderr
    assert os.listdir(target) == []


def test_boxes_are_drawn_where_they_are_and_the_frame_is_not_touched() -> None:
    picture = np.full((240, 320, 3), 90, np.uint8)
    original = picture.copy()
    drawn = annotate(picture, result(0, [[60, 80, 200, 180], [250, 0, 319, 30], [0, 200, 50, 239]]))
    np.testing.assert_array_equal(picture, original)
    changed = (drawn != original).any(axis=2)
    assert changed[80, 60:200].mean() > 0.9
    assert changed[180, 60:200].mean() > 0.9
    assert not changed[100:160, 80:180].any()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (40, 2000), (1080, 1920)])
def test_drawing_copes_with_any_size(size: tuple[int, int]) -> None:
    height, width = size
    drawn = annotate(np.zeros((*size, 3), np.uint8), result(0, [[0, 0, width - 1, height - 1]], "propagated"))
    assert drawn.shape == (*size, 3)


def test_in_a_crowd_the_best_labels_stay_readable() -> None:
    """Ten boxes at one place: the label of the best is drawn as if it were alone."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    crowd = annotate(picture, result(0, [[60, 80, 200, 180]] * 10), tag=False)
    alone = annotate(picture, result(0, [[60, 80, 200, 180]]), tag=False)
    np.testing.assert_array_equal(crowd[50:78, 60:140], alone[50:78, 60:140])
    assert (alone[50:78, 60:140] != 90).any()


def test_a_row_says_which_boxes_were_carried_here() -> None:
    found = result(0, [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert found.moved.tolist() == [False, False]
    rows = dataclasses.replace(found, moved=np.array([False, True])).to_row()["detections"]
    assert [row.get("moved") for row in rows] == [None, True]
    for wrong in (np.zeros(3, bool), np.zeros((2, 1), bool)):
        with pytest.raises(ShapeError, match="detections"):
            dataclasses.replace(found, moved=wrong)
