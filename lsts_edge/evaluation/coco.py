"""AP50 and AP of detections through pycocotools, overall and per class, with an interval over the sequences."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.metrics import as_one_class, bootstrap_interval, sequence_matches

__all__ = ["Accuracy", "measure"]


@dataclass(frozen=True)
class Accuracy:
    """What a detector reaches on annotated sequences.

    Attributes:
        ap50: mean over the classes that occur of AP at IoU 0.5.
        ap: the same, averaged over IoU 0.50, 0.55, ... 0.95.
        ap50_interval: 95 % bootstrap interval of ``ap50`` over the sequences.
        ap50_per_class: by class name; None where the class does not occur.
        ap_per_class: likewise.
        images: images measured.
        sequences: sequences they come from.
        class_agnostic: all classes counted as one.
    """

    ap50: float
    ap: float
    ap50_interval: tuple[float, float]
    ap50_per_class: Mapping[str, float | None]
    ap_per_class: Mapping[str, float | None]
    images: int
    sequences: int
    class_agnostic: bool


def measure(
    annotations: AnnotationSet,
    detections: Mapping[int, Boxes],
    *,
    class_agnostic: bool = False,
    resamples: int = 1000,
) -> Accuracy:
    """Compare detections with annotations.

    Ignore boxes are COCO's crowd regions: a detection with no true box of its own that lies in one by at least
    the overlap wanted counts neither way.

    Args:
        annotations: the truth.
        detections: by image id.
        class_agnostic: count all classes as one; of detections overlapping by more than 0.5 the best is kept.
        resamples: of the bootstrap.
    """
    if class_agnostic:
        annotations = annotations.as_one_class()
        detections = {key: as_one_class(found) for key, found in detections.items()}
    precision = _coco_precision(annotations, detections)
    per_class50 = _by_class(annotations, precision[:1])
    per_class = _by_class(annotations, precision)
    matches = list(sequence_matches(annotations, detections, 0.5).values())
    return Accuracy(
        ap50=_mean(per_class50),
        ap=_mean(per_class),
        ap50_interval=bootstrap_interval(matches, resamples=resamples),
        ap50_per_class=per_class50,
        ap_per_class=per_class,
        images=len(annotations.images),
        sequences=len(matches),
        class_agnostic=class_agnostic,
    )


def _coco_precision(annotations: AnnotationSet, detections: Mapping[int, Boxes]) -> np.ndarray:
    """``(10 IoUs, 101 recalls, classes)``; -1 where a class does not occur."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for record in annotations.images:
        rows = zip(record.boxes_xyxy_px.astype(float), record.labels.tolist(), record.ignore.tolist(), strict=True)
        for box, label, ignore in rows:
            truth.append(_row(record.image_id, label, box) | {"id": len(truth) + 1, "iscrowd": int(ignore)})
        one = detections.get(record.image_id)
        if one is not None:
            found.extend(one.to_coco(record.image_id, range(1, len(annotations.classes) + 1)))
    images = [{"id": r.image_id, "height": r.height_px, "width": r.width_px} for r in annotations.images]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(annotations.classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}, "images": images, "annotations": truth, "categories": categories}
        coco.createIndex()
        results = coco.loadRes(found) if found else COCO()
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.params.imgIds = [record.image_id for record in annotations.images]
        evaluation.params.catIds = [category["id"] for category in categories]
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: np.ndarray = evaluation.eval["precision"][:, :, :, 0, 0]
    return precision


def _row(image_id: int, label: int, box: np.ndarray) -> dict[str, Any]:
    x1, y1, x2, y2 = box.tolist()
    return {
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
    }


def _by_class(annotations: AnnotationSet, precision: np.ndarray) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for label, name in enumerate(annotations.classes):
        of_class = precision[:, :, label]
        values[name] = None if (of_class < 0).all() else float(of_class[of_class >= 0].mean())
    return values


def _mean(per_class: Mapping[str, float | None]) -> float:
    known = [value for value in per_class.values() if value is not None]
    return float(np.mean(known)) if known else float("nan")
