"""The score of best F1, against counting at every score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import CheckFailed
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.metrics import sequence_matches
from lsts_edge.evaluation.truth_score import truth_score

BOX = [10.0, 10.0, 50.0, 50.0]
FAR = [200.0, 200.0, 260.0, 260.0]


def stills(*rows: tuple[list[list[float]], list[bool]]) -> AnnotationSet:
    return AnnotationSet(
        Path("none.json"),
        ("thing", "other"),
        tuple(
            ImageRecord(
                index, Path("none.jpg"), str(index), 0, 300, 300, np.array(boxes, np.float32).reshape(-1, 4),
                np.zeros(len(boxes), np.int64), np.array(ignore, bool),
            )
            for index, (boxes, ignore) in enumerate(rows)
        ),
    )  # fmt: skip


def found(boxes: list[list[float]], scores: list[float], labels: list[int] | None = None) -> Boxes:
    return Boxes(
        np.array(boxes, float).reshape(-1, 4), np.array(scores), np.array(labels or [0] * len(scores), np.int64)
    )


def test_counted_by_hand():
    # Right at 0.8 and 0.5, wrong at 0.3 twice: all but the wrong ones are kept, at the highest score that does so.
    annotations = stills(([BOX], [False]), ([BOX, FAR], [False, False]))
    result = truth_score(annotations, {0: found([BOX, FAR], [0.8, 0.3]), 1: found([BOX, BOX], [0.5, 0.3])})
    assert result.score == 0.5
    assert (result.precision, result.recall) == (1.0, pytest.approx(2 / 3))
    assert result.f1 == pytest.approx(0.8)
    assert (result.images, result.objects) == (2, 3)


def test_box_on_a_crowd_counts_neither_way_and_the_class_must_be_right():
    annotations = stills(([BOX, FAR], [False, True]))
    result = truth_score(annotations, {0: found([BOX, FAR], [0.6, 0.9])})
    assert (result.f1, result.objects) == (1.0, 1)
    with pytest.raises(CheckFailed, match="none of them found"):
        truth_score(annotations, {0: found([BOX], [0.6], [1])})


def test_equals_f1_counted_at_every_score():
    random = np.random.RandomState(0)
    rows, detections = [], {}
    for image in range(30):
        low = random.rand(4, 2) * 200
        boxes = np.concatenate((low, low + 40), axis=1)
        rows.append((boxes.tolist(), [False] * 4))
        moved = np.concatenate((boxes + random.randn(4, 4) * 6, boxes[:, [1, 0, 3, 2]]))
        detections[image] = found(moved.tolist(), np.round(random.rand(8), 2).tolist())
    annotations = stills(*rows)

    def f1(score: float) -> float:
        kept = {
            image: one.select(keep) for image, one in detections.items() for keep in [one.scores >= np.float32(score)]
        }
        parts = [match for image in sequence_matches(annotations, kept, 0.5).values() for match in image]
        hits, boxes = sum(part.correct.sum() for part in parts), sum(len(part.scores) for part in parts)
        return float(2 * hits / (boxes + 120))

    result = truth_score(annotations, detections)
    every = {score / 100: f1(score / 100) for score in range(5, 96)}
    assert result.f1 == pytest.approx(max(every.values()))
    assert result.score == max(score for score, value in every.items() if value == max(every.values()))


@pytest.mark.parametrize("labelled", [False, True])
def test_no_labels_or_no_boxes_is_an_error(labelled):
    some = stills(([BOX] if labelled else [], [False] if labelled else []))
    with pytest.raises(CheckFailed):
        truth_score(some, {} if labelled else {0: found([BOX], [0.9])})
