"""COCO, MOT and CSV outputs: what other programs read back is what was found."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.coco import COCO_CLASSES, coco_category_ids
from lsts_edge.runtime import Detections, Frame
from lsts_edge.runtime.sinks.coco_json import CocoSink
from lsts_edge.runtime.sinks.csv_table import CsvSink
from lsts_edge.runtime.sinks.mot import MotSink
from lsts_edge.runtime.sinks.text import TextSink

PICTURE = np.zeros((100, 100, 3), np.uint8)


def found(index: int, boxes: list[list[float]], tracks: list[int] | None = None, file: str | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        index,
        index / 25,
        "keyframe",
        0,
        Boxes(np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.5, np.float32), np.arange(count)),
        tuple(COCO_CLASSES[:count]),
        moved=np.array([True] + [False] * (count - 1), bool)[:count],
        track_ids=None if tracks is None else np.array(tracks, np.int64),
        file=file,
    )


def written(sink: TextSink, path: Path, frames: list[Detections]) -> str:
    for one in frames:
        sink.write(Frame(PICTURE, one.frame, one.time_s), one)
    sink.finish()
    sink.publish()
    sink.settle()
    return path.read_text(encoding="utf-8")


FRAMES = [found(0, [[1, 2, 11, 22]]), found(1, []), found(2, [[5, 5, 6.5, 9], [0, 0, 99.123, 50]], [7, -1])]


def test_coco_is_a_list_of_boxes(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    entries = json.loads(written(CocoSink(path, COCO_CLASSES), path, FRAMES))
    assert entries == [
        {"image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.5},
        {"image_id": 2, "category_id": 1, "bbox": [5, 5, 1.5, 4], "score": 0.5},
        {"image_id": 2, "category_id": 2, "bbox": [0, 0, 99.12, 50], "score": 0.5},
    ]


def test_coco_of_nothing_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    assert json.loads(written(CocoSink(path, ["a"]), path, [found(0, [])])) == []


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "boxes.json"
    written(CocoSink(path, ("thing", "other")), path, FRAMES)
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": number} for number in range(3)],
        "categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "other"}],
        "annotations": [],
    }
    truth.createIndex()
    results = truth.loadRes(str(path))
    assert [entry["bbox"] for entry in results.loadAnns(results.getAnnIds(imgIds=[2]))] == [
        [5, 5, 1.5, 4],
        [0, 0, 99.12, 50],
    ]


def test_category_ids_are_those_of_coco() -> None:
    ids = dict(zip(COCO_CLASSES, coco_category_ids(COCO_CLASSES), strict=True))
    # From COCO's own list of categories.
    known = {"person": 1, "traffic light": 10, "stop sign": 13, "bird": 16, "backpack": 27, "handbag": 31, "bottle": 44}
    known |= {"wine glass": 46, "dining table": 67, "toilet": 70, "tv": 72, "sink": 81, "book": 84, "toothbrush": 90}
    assert {name: ids[name] for name in known} == known
    assert coco_category_ids(["a", "b"]) == (1, 2)


def test_mot_counts_frames_from_one(tmp_path: Path) -> None:
    path = tmp_path / "boxes.txt"
    lines = written(MotSink(path), path, FRAMES).splitlines()
    assert lines == [
        "1,-1,1.00,2.00,10.00,20.00,0.50000,-1,-1,-1",
        "3,7,5.00,5.00,1.50,4.00,0.50000,-1,-1,-1",
        "3,-1,0.00,0.00,99.12,50.00,0.50000,-1,-1,-1",
    ]


def test_csv_reads_back_whatever_a_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    hostile = 'a,"b"\n\udce9.jpg'
    text = written(CsvSink(path), path, [*FRAMES, found(3, [[1, 2, 3, 4]], file=hostile)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["frame"] for row in rows] == ["0", "2", "2", "3"]
    assert rows[0] | {"time_s": "0.0"} == {
        "frame": "0",
        "time_s": "0.0",
        "kind": "keyframe",
        "label": "person",
        "score": "0.5",
        "x1_px": "1.0",
        "y1_px": "2.0",
        "x2_px": "11.0",
        "y2_px": "22.0",
        "moved": "1",
        "track_id": "",
        "file": "",
    }
    assert [row["track_id"] for row in rows] == ["", "7", "", ""]
    assert rows[3]["file"] == 'a,"b"\n\\udce9.jpg'


def test_a_table_of_no_frames_has_its_header(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    assert written(CsvSink(path), path, []).startswith("frame,time_s,")
