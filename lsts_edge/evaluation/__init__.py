"""How good detections are: annotations in, average precision out."""

from __future__ import annotations

from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.metrics import average_precision

__all__ = ["AnnotationSet", "average_precision", "read_annotations"]
