"""Somebody's detector, ONNX or ncnn, on annotated pictures, its classes in the groups of the truth."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.grouped import group_boxes
from lsts_edge.progress import Progress, silent

__all__ = ["DETECTOR_SUFFIXES", "run_detector"]

DETECTOR_SUFFIXES = (".onnx", ".param")
"""Files that are run; ``.param`` is NanoDet-Plus in ncnn, its weights beside it."""

_NCNN_PX = 416
_MOST = 100


class _Detector(Protocol):
    classes: tuple[str, ...]

    def look(self, frame_hwc_bgr_u8: np.ndarray, /) -> Boxes: ...


def run_detector(
    path: Path, truth: AnnotationSet, threads: int | None = None, progress: Progress = silent
) -> tuple[dict[int, Boxes], str]:
    """A detector of COCO's classes on every picture by itself, its classes put into the groups of the truth.

    Args:
        path: an ONNX file that ``lsts-edge wrap`` recognises, or NanoDet-Plus's ``.param`` file.
        truth: the pictures.
        threads: of the engine; None leaves it to it.
        progress: told of images done and images in all.
    Returns:
        Boxes by image id, and the SHA-256 of the file that holds the weights.
    Raises:
        DetectorError: if the ONNX file is refused, or has other classes.
        OptionError: if the ``.param`` file or its weights are another network's.
        PackageMissing: if that needs ncnn, which is not installed.
    """
    detector = _opened(path, threads)
    # Truth of COCO's kind has persons and bicycles apart: there nobody is joined to a rider.
    shown = {truth.classes[label] for record in truth.images for label in record.labels[~record.ignore]}
    groups = [name if name != "rider" or name in shown else "" for name in truth.classes]
    found = {}
    for record in truth.images:
        seen = detector.look(read_image(record))
        found[record.image_id] = group_boxes(seen, detector.classes, groups)
        progress("images", len(found), len(truth.images))
    weights = path.with_suffix(".bin") if path.suffix == ".param" else path
    return found, hashlib.sha256(weights.read_bytes()).hexdigest()


class _Ncnn:
    """NanoDet-Plus as a detector that looks at frames."""

    def __init__(self, path: Path, threads: int) -> None:
        from lsts_edge.benchmarks.peers import NanoDetPlus
        from lsts_edge.train.teachers import SCORE_FLOOR

        self._peer = NanoDetPlus(path, threads, _NCNN_PX, _NCNN_PX, SCORE_FLOOR, _MOST)
        self.classes = self._peer.classes

    def look(self, frame_hwc_bgr_u8: np.ndarray) -> Boxes:
        """Boxes in the frame's pixels."""
        prepared, geometry = self._peer.prepare(frame_hwc_bgr_u8)
        return self._peer.finish(self._peer.infer(prepared), geometry)


def _opened(path: Path, threads: int | None) -> _Detector:
    if path.suffix == ".param":
        return _Ncnn(path, threads or os.cpu_count() or 1)
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.train.teachers import Teacher

    return Teacher(path, EngineOptions(threads=threads))
