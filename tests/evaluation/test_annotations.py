"""Annotation files: order, labels by name, ignore boxes, the 80 COCO names, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.presets import FIVE_GROUPS


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def video_file() -> dict[str, Any]:
    return {
        "categories": [{"id": 7, "name": "bird"}, {"id": 3, "name": "person"}],
        "videos": [{"id": 1, "name": "flight"}],
        "images": [
            {"id": 11, "video_id": 1, "frame_id": 1, "file_name": "b.jpg", "height": 40, "width": 60},
            {"id": 10, "video_id": 1, "frame_id": 0, "file_name": "a.jpg", "height": 40, "width": 60},
        ],
        "annotations": [
            {"image_id": 10, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"image_id": 11, "category_id": 3, "bbox": [5, 5, 10, 10], "iscrowd": 1},
        ],
        "ignore": [{"image_id": 10, "category_id": 3, "bbox": [0, 0, 9, 9]}],
    }


def test_frames_in_order_labels_by_name_and_both_kinds_of_ignore(tmp_path: Path):
    annotations = read_annotations(write(tmp_path / "v.json", video_file()), ("person", "bird"))
    first, second = annotations.images
    assert (first.image_id, second.image_id) == (10, 11)
    assert first.path == tmp_path / "a.jpg"
    assert first.boxes_xyxy_px.tolist() == [[1, 2, 4, 6], [0, 0, 9, 9]]
    assert first.labels.tolist() == [1, 0]
    assert first.ignore.tolist() == [False, True]
    assert second.ignore.tolist() == [True]
    assert list(annotations.sequences()) == ["flight"]
    assert annotations.without({"flight"}).images == ()


def test_coco_names_become_groups_and_riders_are_ignored(tmp_path: Path):
    data = {
        "categories": [
            {"id": i, "name": n} for i, n in enumerate(("person", "bicycle", "dog", "pizza", "bird", "horse"))
        ],
        "images": [{"id": 1, "file_name": "a.jpg", "height": 100, "width": 100}],
        "annotations": [
            {"image_id": 1, "category_id": 0, "bbox": [10, 0, 10, 40]},  # on the bicycle: perhaps a rider
            {"image_id": 1, "category_id": 1, "bbox": [5, 20, 20, 25]},
            {"image_id": 1, "category_id": 0, "bbox": [60, 0, 10, 40]},  # walks
            {"image_id": 1, "category_id": 2, "bbox": [60, 60, 10, 10]},
            {"image_id": 1, "category_id": 3, "bbox": [80, 80, 10, 10]},
        ],
    }
    (image,) = read_annotations(write(tmp_path / "c.json", data), FIVE_GROUPS).images
    names = [FIVE_GROUPS[label] for label in image.labels]
    assert names == ["person", "vehicle", "person", "quadruped"]
    assert image.ignore.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("categories"),
        lambda d: d.update(images=[]),
        lambda d: d["annotations"][0].update(bbox=[1, 2, 3]),
        lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 3]),
        lambda d: d["annotations"][0].update(category_id=99),
        lambda d: d["images"][0].pop("height"),
        lambda d: d.update(categories=[{"id": 7, "name": "teapot"}, {"id": 3, "name": "lamp"}]),
    ],
)
def test_damaged_file_is_one_clear_error(tmp_path: Path, damage: Any):
    data = video_file()
    damage(data)
    with pytest.raises(AnnotationError):
        read_annotations(write(tmp_path / "v.json", data), ("person", "bird"))


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"images": 3}'])
def test_something_else_is_one_clear_error(tmp_path: Path, content: str):
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError):
        read_annotations(path, ("person",))


def test_missing_file_is_one_clear_error(tmp_path: Path):
    with pytest.raises(AnnotationError):
        read_annotations(tmp_path / "none.json", ("person",))
