"""Somebody's ONNX detector on annotated pictures, its classes in the groups of the truth."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.grouped import group_boxes
from lsts_edge.progress import Progress, silent

__all__ = ["run_detector"]


def run_detector(
    path: Path, truth: AnnotationSet, threads: int | None = None, progress: Progress = silent
) -> tuple[dict[int, Boxes], str]:
    """An ONNX detector of COCO's classes on every picture by itself, its classes put into the groups of the truth.

    Args:
        path: a file that ``lsts-edge wrap`` recognises.
        truth: the pictures.
        threads: of the engine; None leaves it to it.
        progress: told of images done and images in all.
    Returns:
        Boxes by image id, and the file's SHA-256.
    Raises:
        DetectorError: if the file is refused, or has other classes.
    """
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.train.teachers import Teacher

    detector = Teacher(path, EngineOptions(threads=threads))
    # Truth of COCO's kind has persons and bicycles apart: there nobody is joined to a rider.
    shown = {truth.classes[label] for record in truth.images for label in record.labels[~record.ignore]}
    groups = [name if name != "rider" or name in shown else "" for name in truth.classes]
    found = {}
    for record in truth.images:
        seen = detector.look(read_image(record))
        found[record.image_id] = group_boxes(seen, detector.classes, groups)
        progress("images", len(found), len(truth.images))
    return found, hashlib.sha256(path.read_bytes()).hexdigest()
