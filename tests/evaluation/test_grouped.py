"""COCO's classes in our groups: riders are pairs, one animal under three names is one."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.coco import COCO_CLASSES
from lsts_edge.evaluation.grouped import KINDS, group_boxes, kind_boxes
from lsts_edge.presets import FIVE_GROUPS


def found(*rows: tuple[str, float, list[float]]) -> Boxes:
    return Boxes(
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([COCO_CLASSES.index(row[0]) for row in rows], np.int64),
    )


def told(boxes: Boxes, names: tuple[str, ...]) -> list[tuple[str, float, list[float]]]:
    return [
        (names[label], round(score, 4), corners)
        for corners, score, label in zip(
            boxes.xyxy_px.tolist(), boxes.scores.tolist(), boxes.labels.tolist(), strict=True
        )
    ]


def test_person_on_a_bicycle_is_a_rider_with_the_lesser_score():
    seen = found(("person", 0.9, [10, 0, 30, 60]), ("bicycle", 0.5, [5, 30, 45, 70]), ("chair", 0.8, [0, 0, 9, 9]))
    # shared 20 x 30 = 600 of the smaller 1200: above 0.3
    assert told(group_boxes(seen, COCO_CLASSES, FIVE_GROUPS), FIVE_GROUPS) == [("rider", 0.5, [5, 0, 45, 70])]


@pytest.mark.parametrize(
    ("bicycle", "score"), [([29, 0, 49, 60], 0.5), ([5, 30, 45, 70], 0.29)], ids=["hardly touched", "doubtful"]
)
def test_person_and_bicycle_stay_apart(bicycle: list[float], score: float):
    seen = found(("person", 0.9, [10, 0, 30, 60]), ("bicycle", score, bicycle))
    names = [row[0] for row in told(group_boxes(seen, COCO_CLASSES, FIVE_GROUPS), FIVE_GROUPS)]
    assert names == ["person", "vehicle"]


def test_each_is_in_one_pair_and_the_closest_first():
    seen = found(("person", 0.9, [0, 0, 20, 40]), ("person", 0.8, [10, 0, 30, 40]), ("horse", 0.7, [10, 10, 30, 50]))
    rows = told(group_boxes(seen, COCO_CLASSES, FIVE_GROUPS), FIVE_GROUPS)
    assert rows == [("person", 0.9, [0, 0, 20, 40]), ("rider", 0.7, [10, 0, 30, 50])]


def test_groups_without_rider_keep_persons():
    seen = found(("person", 0.9, [10, 0, 30, 60]), ("motorcycle", 0.5, [5, 30, 45, 70]))
    groups = ("person", "", "vehicle")
    assert [row[0] for row in told(group_boxes(seen, COCO_CLASSES, groups), groups)] == ["person", "vehicle"]


def test_one_animal_under_three_names_is_one_of_the_best_score():
    seen = found(*((name, score, [0, 0, 50, 50]) for name, score in (("bear", 0.3), ("dog", 0.4), ("sheep", 0.2))))
    assert told(kind_boxes(seen, COCO_CLASSES), KINDS) == [("dog", 0.4, [0, 0, 50, 50])]
    seen = found(("horse", 0.6, [0, 0, 50, 50]), ("cow", 0.5, [0, 0, 50, 48]))
    assert len(kind_boxes(seen, COCO_CLASSES)) == 2  # a horse may be ridden: kept apart until riders are known
    assert told(group_boxes(seen, COCO_CLASSES, FIVE_GROUPS), FIVE_GROUPS) == [("quadruped", 0.6, [0, 0, 50, 50])]


def test_kinds_go_into_groups():
    seen = kind_boxes(found(("truck", 0.6, [0, 0, 50, 50]), ("motorcycle", 0.5, [60, 0, 90, 50])), COCO_CLASSES)
    assert [KINDS[label] for label in seen.labels] == ["car", "bicycle"]
    assert [FIVE_GROUPS[label] for label in group_boxes(seen, KINDS, FIVE_GROUPS).labels] == ["vehicle", "vehicle"]
