"""Accuracy inside a comparison: perfect boxes score 1, the schedule is the comparison's, peers' classes are mapped."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools")
pytest.importorskip("onnx")

from lsts_edge.benchmarks.accuracy.meter import AccuracyMeter
from lsts_edge.benchmarks.contestants import Outcome
from lsts_edge.boxes import Boxes
from lsts_edge.coco import COCO_CLASSES
from lsts_edge.errors import AnnotationError
from lsts_edge.runtime.timings import Timings

GROUPS = ("person", "rider", "vehicle", "bird", "quadruped")
BOX = (8.0, 10.0, 24.0, 20.0)  # x, y, width, height


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Two sequences of six frames with one bird each, brightness telling the frame's number."""
    images, boxes = [], []
    for video in (1, 2):
        for frame in range(6):
            image_id = video * 10 + frame
            name = f"{image_id}.png"
            cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), image_id, np.uint8))
            images.append(
                {"id": image_id, "video_id": video, "frame_id": frame, "file_name": name, "height": 48, "width": 64}
            )
            boxes.append({"id": image_id, "image_id": image_id, "category_id": 4, "bbox": list(BOX), "iscrowd": 0})
    data = {
        "videos": [{"id": video, "name": f"video {video}"} for video in (1, 2)],
        "images": images,
        "annotations": boxes,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(GROUPS)],
    }
    path = tmp_path / "val.json"
    path.write_text(json.dumps(data))
    return path


class Oracle:
    """Says the true box, on keyframes only if told so; a peer's classes are COCO's."""

    def __init__(self, label: int, classes: tuple[str, ...] = GROUPS, keyframes_only: bool = False) -> None:
        self.classes = classes
        self.propagates = True
        self.decides = False
        self._label = label
        self._keyframes_only = keyframes_only
        x, y, width, height = BOX
        self._box = np.array([[x, y, x + width, y + height]], np.float32)
        self.keyframes: list[bool] = []
        self.starts = 0

    def start(self) -> None:
        self.starts += 1

    def detect(self, frame: np.ndarray, keyframe: bool) -> Outcome:
        self.keyframes.append(keyframe)
        count = 0 if self._keyframes_only and not keyframe else 1
        boxes = Boxes(self._box[:count], np.ones(count, np.float32), np.full(count, self._label))
        return Outcome(boxes, Timings(), keyframe)


def test_perfect_boxes_and_the_schedule(annotations: Path) -> None:
    meter = AccuracyMeter(annotations, GROUPS, keyframe_interval=4, resamples=20)
    ours = Oracle(GROUPS.index("bird"))
    found = meter.measure("ours", ours)
    assert found.ap50_class_agnostic == 1.0
    assert found.ap50_shared == {"vehicle": None, "bird": 1.0, "quadruped": None}
    assert found.images == 12 and found.sequences == 2
    assert ours.starts == 2, "each sequence starts afresh"
    assert ours.keyframes == [True, False, False, False, True, False] * 2


def test_peers_classes_are_mapped_and_others_left_out(annotations: Path) -> None:
    meter = AccuracyMeter(annotations, GROUPS, 4, resamples=20)
    for label, expected in (("bird", 1.0), ("truck", 1.0), ("chair", 0.0)):
        peer = Oracle(COCO_CLASSES.index(label), COCO_CLASSES)
        found = meter.measure(label, peer)
        assert found.ap50_class_agnostic == expected
        assert found.ap50_all_classes is None
    assert meter.differences("bird")["chair"].difference == 1.0


def test_a_worse_detector_scores_less(annotations: Path) -> None:
    meter = AccuracyMeter(annotations, GROUPS, 4, resamples=20)
    found = meter.measure("half", Oracle(3, keyframes_only=True))
    assert 0.2 < found.ap50_class_agnostic < 0.5, "4 of 12 frames"


def test_missing_image(annotations: Path) -> None:
    (annotations.parent / "13.png").unlink()
    meter = AccuracyMeter(annotations, GROUPS, 4)
    with pytest.raises(AnnotationError, match=r"13\.png"):
        meter.measure("ours", Oracle(3))
