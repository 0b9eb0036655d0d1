"""Average precision against cases counted by hand, and against pycocotools on random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.coco import measure
from lsts_edge.evaluation.metrics import (
    AP_IOUS,
    Matches,
    as_one_class,
    average_precision,
    bootstrap_interval,
    match_image,
    mean_ap,
    sequence_matches,
)

BOX = np.array([[10.0, 10.0, 30.0, 30.0]])


def judge(
    boxes: list[list[float]], scores: list[float], truth: list[list[float]], ignore: list[bool], iou: float = 0.5
) -> Matches:
    return match_image(
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
        np.array(truth, float).reshape(-1, 4),
        np.array(ignore, bool),
        iou,
    )


def record(image_id: int, video: str, boxes: np.ndarray, labels: list[int], ignore: list[bool]) -> ImageRecord:
    return ImageRecord(
        image_id, Path("none.jpg"), video, image_id, 100, 100, boxes.astype(np.float32).reshape(-1, 4),
        np.array(labels, np.int64), np.array(ignore, bool),
    )  # fmt: skip


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Boxes:
    return Boxes(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels, np.int64))


def test_second_detection_of_one_object_is_false():
    matches = judge([[10, 10, 30, 30], [11, 10, 31, 30]], [0.6, 0.9], [[10, 10, 30, 30]], [False])
    assert matches.scores.tolist() == [0.9, 0.6]
    assert matches.correct.tolist() == [True, False]
    assert not matches.dropped.any()


def test_overlap_of_exactly_the_threshold_counts():
    # 20 x 20 against 20 x 10 inside it: IoU is exactly 0.5.
    assert judge([[0, 0, 20, 10]], [0.5], [[0, 0, 20, 20]], [False]).correct.tolist() == [True]
    assert judge([[0, 0, 20, 9.9]], [0.5], [[0, 0, 20, 20]], [False]).correct.tolist() == [False]


def test_ignore_box_drops_by_share_of_the_detection_and_any_number():
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [95, 0, 115, 10]]
    matches = judge(boxes, [0.9, 0.8, 0.7], [[0, 0, 100, 100]], [True])
    # The third lies in the region by a quarter only.
    assert matches.dropped.tolist() == [True, True, False]
    assert matches.positives == 0


def test_object_is_preferred_to_ignore_box():
    matches = judge([[10, 10, 30, 30]], [0.9], [[0, 0, 50, 50], [12, 10, 32, 30]], [True, False])
    assert matches.correct.tolist() == [True]
    assert matches.dropped.tolist() == [False]


def test_average_precision_counted_by_hand():
    # Ranked: hit, miss, hit; two of four objects found. Precision 1 up to recall 1/4, 2/3 up to 1/2, then 0:
    # recalls 0..0.25 are 26 points, 0.26..0.50 are 25, of 101.
    matches = Matches(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), np.zeros(3, bool), 4)
    assert average_precision(matches) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101, abs=1e-12)


def test_dropped_detection_does_not_lower_precision():
    dropped = np.array([False, True, False])
    matches = Matches(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), dropped, 2)
    assert average_precision(matches) == pytest.approx(1.0)


def test_nothing_to_find_and_nothing_found():
    none = np.zeros(0)
    assert np.isnan(average_precision(Matches(none, none.astype(bool), none.astype(bool), 0)))
    assert average_precision(Matches(none, none.astype(bool), none.astype(bool), 3)) == 0.0


def random_case(seed: int) -> tuple[AnnotationSet, dict[int, Boxes]]:
    random = np.random.RandomState(seed)
    records, detections = [], {}
    for index in range(30):
        count = random.randint(0, 5)
        low = random.uniform(0, 60, (count, 2))
        boxes = np.concatenate((low, low + random.uniform(5, 40, (count, 2))), axis=1)
        labels = random.randint(0, 3, count)
        ignore = random.uniform(size=count) < 0.3
        records.append(record(index, f"clip{index // 10}", boxes, labels.tolist(), ignore.tolist()))
        copies = np.repeat(boxes.astype(np.float32).astype(float), 3, axis=0)
        moved = copies + random.normal(0, 2.5, copies.shape)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        wrong = random.uniform(size=len(moved)) < 0.2
        guessed = np.where(wrong, random.randint(0, 3, len(moved)), np.repeat(labels, 3))
        detections[index] = Boxes(moved, random.uniform(size=len(moved)), guessed)
    return AnnotationSet(Path("none.json"), ("a", "b", "c"), tuple(records)), detections


@pytest.mark.parametrize("seed", range(3))
def test_numpy_and_pycocotools_agree(seed: int):
    annotations, detections = random_case(seed)
    accuracy = measure(annotations, detections, resamples=20)
    values = [mean_ap(list(sequence_matches(annotations, detections, iou).values())) for iou in AP_IOUS]
    assert 0.05 < accuracy.ap < accuracy.ap50 < 0.95, "the case must be neither hopeless nor perfect"
    assert values[0] == pytest.approx(accuracy.ap50, abs=1e-9)
    assert np.mean(values) == pytest.approx(accuracy.ap, abs=1e-9)


def test_class_agnostic_forgives_a_wrong_label_and_merges_doubles():
    annotations = AnnotationSet(Path("none.json"), ("a", "b"), (record(0, "clip", BOX, [0], [False]),))
    detections = {0: found([[10, 10, 30, 30], [10, 11, 30, 31]], [0.9, 0.8], [1, 0])}
    assert measure(annotations, detections, resamples=5).ap50 == pytest.approx(1.0)  # the 0.8 has the right label
    wrong = {0: found([[10, 10, 30, 30]], [0.9], [1])}
    assert measure(annotations, wrong, resamples=5).ap50 == pytest.approx(0.0)
    assert measure(annotations, wrong, class_agnostic=True, resamples=5).ap50 == pytest.approx(1.0)
    merged = as_one_class(detections[0])
    assert merged.scores.tolist() == pytest.approx([0.9])


def test_class_without_objects_is_left_out_of_the_mean():
    annotations = AnnotationSet(Path("none.json"), ("a", "b"), (record(0, "clip", BOX, [0], [False]),))
    accuracy = measure(annotations, {0: found([[10, 10, 30, 30]], [0.9], [0])}, resamples=5)
    assert accuracy.ap50 == pytest.approx(1.0)
    assert accuracy.ap50_per_class["b"] is None


def test_no_detection_at_all():
    annotations = AnnotationSet(Path("none.json"), ("a",), (record(0, "clip", BOX, [0], [False]),))
    assert measure(annotations, {}, resamples=5).ap50 == 0.0


def test_bootstrap_interval_brackets_the_value_and_depends_on_the_sequences():
    annotations, detections = random_case(7)
    sequences = list(sequence_matches(annotations, detections, 0.5).values())
    low, high = bootstrap_interval(sequences, resamples=200)
    assert low < mean_ap(sequences) < high
    assert bootstrap_interval(sequences[:1], resamples=50) == pytest.approx((mean_ap(sequences[:1]),) * 2)
    with pytest.raises(OptionError):
        bootstrap_interval([], resamples=10)
