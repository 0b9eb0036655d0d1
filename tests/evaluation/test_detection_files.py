"""Detections that were written to files: what ``run --output-json`` and COCO's tools write comes back as boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.benchmarks.accuracy.result import AccuracyResult
from lsts_edge.benchmarks.results import read_result
from lsts_edge.boxes import Boxes
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet, category_names, read_annotations
from lsts_edge.evaluation.detection_files import VIDEO_SUFFIXES, read_detections
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.csv_table import CsvSink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.mot import MotSink
from lsts_edge.runtime.sources.interface import Frame

BOX = (10.0, 20.0, 40.0, 60.0)


@pytest.fixture
def truth(tmp_path: Path) -> AnnotationSet:
    """Two videos of two and three frames with a bird in each frame; pictures are not needed."""
    images, annotations = [], []
    for video, frames in ((1, 2), (2, 3)):
        for frame in range(frames):
            number = 10 * video + frame
            images.append(
                {"id": number, "video_id": video, "frame_id": frame, "file_name": "-", "height": 99, "width": 99}
            )
            annotations.append({"image_id": number, "category_id": 7, "bbox": [10, 20, 30, 40], "instance_id": 1})
    data = {
        "categories": [{"id": 7, "name": "bird"}, {"id": 3, "name": "vehicle"}],
        "videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "images": images,
        "annotations": annotations,
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    return read_annotations(path, category_names(path))


def write_rows(path: Path, frames: int, name: str = "bird") -> None:
    """As ``lsts-edge run --output-json`` does: keyframes every two frames."""
    boxes = Boxes(np.array([BOX], np.float32), np.array([0.75], np.float32), np.array([0]))
    kinds = ("first", "propagated", "keyframe")
    rows = [Detections(frame, None, kinds[frame], frame % 2, boxes, (name,)).to_row() for frame in range(frames)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_of_rows(truth: AnnotationSet, tmp_path: Path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write_rows(folder / "a.jsonl", 2)
    with pytest.raises(AnnotationError, match=r"no b\.jsonl"):
        read_detections(folder, truth)
    write_rows(folder / "b.jsonl", 3)
    read = read_detections(folder, truth)
    assert sorted(read.boxes) == [10, 11, 20, 21, 22]
    assert read.boxes[22].xyxy_px.tolist() == [list(BOX)] and read.boxes[22].labels.tolist() == [0]
    assert read.distances == {10: 0, 11: 1, 20: 0, 21: 1, 22: 0}


def test_one_file_is_of_one_sequence(truth: AnnotationSet, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, 3)
    with pytest.raises(AnnotationError, match="one video for 2 sequences"):
        read_detections(path, truth)
    assert sorted(read_detections(path, truth.only({"b"})).boxes) == [20, 21, 22]
    with pytest.raises(AnnotationError, match="frame 2"):
        read_detections(path, truth.only({"a"}))
    write_rows(path, 1)
    assert read_detections(path, truth.only({"b"})).distances == {}, "not all frames are there"


def test_labels_are_matched_by_name_and_cocos_by_group(truth: AnnotationSet, tmp_path: Path):
    path, one = tmp_path / "rows.jsonl", truth.only({"a"})
    write_rows(path, 2, "truck")
    assert read_detections(path, one).boxes[10].labels.tolist() == [1], "a truck is a vehicle"
    write_rows(path, 2, "teapot")
    with pytest.raises(AnnotationError, match="teapot"):
        read_detections(path, one)


def test_csv_rows(truth: AnnotationSet, tmp_path: Path):
    path = tmp_path / "b.csv"
    header = "frame,time_s,kind,label,score,x1_px,y1_px,x2_px,y2_px,moved,track_id\r\n"
    rows = "0,0.0,first,bird,0.75,10.0,20.0,40.0,60.0,0,\r\n0,0.0,first,vehicle,0.5,0,0,9,9,0,\r\n"
    rows += "2,,keyframe,bird,1,1,2,3,4,0,7\r\n"
    path.write_text(header + rows)
    read = read_detections(path, truth.only({"b"}))
    assert sorted(read.boxes) == [20, 22] and read.distances == {}
    assert read.boxes[20].labels.tolist() == [0, 1] and read.boxes[20].xyxy_px[0].tolist() == list(BOX)
    path.write_text(header.replace("label", "class") + rows)
    with pytest.raises(AnnotationError, match="label"):
        read_detections(path, truth.only({"b"}))


def test_mot_rows_have_no_class(truth: AnnotationSet, tmp_path: Path):
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("1,-1,10,20,30,40,0.75,-1,-1,-1\n2,7,10,20,30,40,0.5,-1,-1,-1\n")
    with pytest.raises(AnnotationError, match="--class-agnostic"):
        read_detections(folder, truth)
    read = read_detections(folder, truth, class_agnostic=True)
    assert sorted(read.boxes) == [10, 11, 20, 21]
    assert read.boxes[11].xyxy_px.tolist() == [list(BOX)] and read.boxes[11].scores.tolist() == [0.5]
    write_rows(folder / "a.jsonl", 2)
    with pytest.raises(AnnotationError, match="more than one file"):
        read_detections(folder, truth, class_agnostic=True)


def test_what_the_sinks_write_is_read(truth: AnnotationSet, tmp_path: Path):
    boxes = Boxes(np.array([BOX], np.float32), np.array([0.75], np.float32), np.array([0]))
    for sink in (JsonLinesSink(tmp_path / "x.jsonl"), CsvSink(tmp_path / "x.csv"), MotSink(tmp_path / "x.txt")):
        for index in (0, 2):
            frame = Frame(np.zeros((2, 2, 3), np.uint8), index, None)
            sink.write(frame, Detections(index, None, "first", 0, boxes, ("bird",)))
        sink.finish()
        sink.publish()
    for suffix in VIDEO_SUFFIXES:
        read = read_detections(tmp_path / f"x{suffix}", truth.only({"b"}), class_agnostic=True)
        assert sorted(read.boxes) == [20, 22] and all(found == boxes for found in read.boxes.values())


def test_cocos_result_rows(truth: AnnotationSet, tmp_path: Path):
    path = tmp_path / "found.json"
    boxes = Boxes(np.array([BOX], np.float32), np.array([0.75], np.float32), np.array([0]))
    path.write_text(json.dumps([*boxes.to_coco(21, {0: 7}), *boxes.to_coco(999, {0: 3})]))
    read = read_detections(path, truth)
    assert sorted(read.boxes) == [21] and read.distances == {}
    assert read.boxes[21] == boxes
    assert sorted(read_detections(path, truth.only({"b"})).boxes) == [21]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("not json", "readable"),
        ('[{"image_id": 21}]', "category_id"),
        ('[{"image_id": 21, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 0.5}]', "category_id 5"),
        ('[{"image_id": 5, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}]', "image_id 5"),
        ('[{"image_id": 21, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 5}]', "out of range"),
        ('[{"image_id": 21, "category_id": 7, "bbox": [0, 0, NaN, 1], "score": 0.5}]', "out of range"),
        ('[{"image_id": 21, "category_id": 7, "bbox": [0, 0, 1], "score": 0.5}]', "ValueError"),
    ],
)
def test_what_is_no_detection_file_is_refused(truth: AnnotationSet, tmp_path: Path, text: str, named: str):
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=named):
        read_detections(path, truth)


def test_the_command_measures_ready_detections(lsts_edge_command: Callable, truth: AnnotationSet, tmp_path: Path):
    pytest.importorskip("pycocotools")
    folder = tmp_path / "rows"
    folder.mkdir()
    write_rows(folder / "a.jsonl", 2)
    write_rows(folder / "b.jsonl", 3)
    words = ("evaluate", folder, truth.path, "--metric", "all", "--latency-ms", "50,10", "--fps", 20)
    files = [tmp_path / f"out.{ending}" for ending in ("json", "md", "html")]
    done = lsts_edge_command(*words, *(word for file in files for word in ("--output", file)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4].startswith("AP50 1.000")
    result = read_result(files[0])
    assert isinstance(result, AccuracyResult)
    row = result.data.rows[0]
    assert (row.engine, row.detections, row.label) == ("file", "rows", "rows (detections)")
    video = row.video
    assert video is not None and video.vid is not None and video.streaming is not None and video.flicker is not None
    assert video.ap50_by_distance == {"0": 1.0, "1": 1.0}
    assert video.vid.mean_ap_by_motion == {"slow": 1.0, "medium": None, "fast": None}
    assert (video.flicker.fragment_error, video.shown_score) == (0.0, 0.3)
    # A keyframe takes a whole frame, so nothing is shown for the first frame of a video: 3 of 5 boxes at best.
    assert video.streaming.ap50 < 1.0 and video.streaming.processed == 1.0
    assert video.streaming.mean_latency_ms == pytest.approx((3 * 50 + 2 * 10) / 5)
    markdown, html = (file.read_text() for file in files[1:])
    assert "## Flicker" in markdown and "| slow (5 boxes) | 1.000 |" in markdown
    assert "<svg" in html and "Streaming accuracy" in html
    done = lsts_edge_command(
        "evaluate", folder, truth.path, "--seq-nms", "online", "--output", tmp_path / "linked.json"
    )
    assert done.returncode == 0, done.stderr
    linked = read_result(tmp_path / "linked.json").data.rows[0]
    assert (linked.seq_nms, linked.label) == ("online", "rows (detections), Seq-NMS online")
    done = lsts_edge_command("evaluate", folder, truth.path, "--seq-nms", "online", "--latency-ms", "50,10")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "error[option]")
    done = lsts_edge_command("evaluate", folder, truth.path, "--latency", "live")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "error[option]")
    done = lsts_edge_command("evaluate", folder, truth.path, "--latency-ms", "fast")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "error[option]")
    truth.path.write_text(truth.path.read_text().replace("instance_id", "track"))
    done = lsts_edge_command("evaluate", tmp_path / "none", truth.path, "--metric", "flicker")
    assert done.returncode == 2 and "instance_id" in done.stderr, "told before anything is run"
