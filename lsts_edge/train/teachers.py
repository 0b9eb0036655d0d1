"""A detector of somebody's, run to label pictures: an ONNX file in, boxes of COCO's classes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import DetectorRefused
from lsts_edge.export.detectors import class_names, read_detector, recognise, wrap_detector
from lsts_edge.export.detectors.read import MAX_DETECTOR_BYTES
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.preprocess import Preprocessor

__all__ = ["SCORE_FLOOR", "Teacher"]

SCORE_FLOOR = 0.05
"""Boxes below it are not looked at."""

_NMS_IOU = 0.6


class Teacher:
    """Runs at its file's own input size.

    Args:
        path: the ONNX file, of a family that ``lsts-edge wrap`` knows.
        engine: what runs it; None takes ONNX Runtime on the CPU.

    Attributes:
        file: its name without folders.
        sha256: of the file.
        classes: names, by label.

    Raises:
        DetectorError: if the file is refused or of no known family.
        ProviderError: if the engine is missing or cannot load it.
    """

    def __init__(self, path: Path, engine: EngineOptions | None = None) -> None:
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_DETECTOR_BYTES + 1)
        except OSError as error:
            raise DetectorRefused(
                f"teacher {path} is refused", got=error.strerror or str(error), expected="a readable .onnx file",
                fix="Give the detector's file.",
            ) from error  # fmt: skip
        self.file = path.name
        self.sha256 = hashlib.sha256(raw).hexdigest()
        model = read_detector(raw)
        spec = recognise(model)
        self.classes, _ = class_names(model, spec)
        height, width = spec.height_px, spec.width_px
        graph = wrap_detector(
            model,
            spec,
            height_px=height,
            width_px=width,
            classes=self.classes,
            score_floor=SCORE_FLOOR,
            nms_iou=_NMS_IOU,
        )
        self._session = open_backend(engine).load(graph.SerializeToString(), self.file)
        self._prepare = Preprocessor(InputInfo(height, width, spec.resize, spec.pad_value))

    def look(self, frame_hwc_bgr_u8: np.ndarray) -> Boxes:
        """Boxes in the frame's pixels, corners as edges, scores above 0.05."""
        image, geometry = self._prepare(frame_hwc_bgr_u8)
        return geometry.to_frame(Boxes.of_slots(self._session.run({"image": image}), "edges"))
