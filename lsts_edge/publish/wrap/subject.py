"""Somebody's detector, opened: the file's model, what it was recognised as, its classes and the sizes it can run at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lsts_edge.bundle.manifest import WrappedInfo
from lsts_edge.errors import DetectorRefused
from lsts_edge.export.detectors import class_names, read_detector, recognise, wrap_detector
from lsts_edge.export.detectors.count import count_graph
from lsts_edge.export.detectors.read import MAX_DETECTOR_BYTES

if TYPE_CHECKING:
    import onnx

    from lsts_edge.export.detectors import DetectorSpec
    from lsts_edge.export.detectors.spec import Family

__all__ = ["MAX_DETECTIONS", "SCORE_FLOOR", "Size", "Subject", "open_subject", "smaller_sizes"]

SCORE_FLOOR = 0.05
MAX_DETECTIONS = 100

Size = tuple[int, int]
"""Height and width in pixels."""

_SMALLER = (0.85, 0.7, 0.5)  # of a side: about .72, .5 and .25 of the network's work
_LEAST_PX = 64


@dataclass(frozen=True)
class Subject:
    """What is wrapped.

    Attributes:
        file: name without folders.
        sha256: of the file.
        model: as ``read_detector`` gives it.
        spec: how it is fed and read.
        classes: names, by label.
        notes: lines for the reader: what was taken for granted.
        size: the largest input that is looked at.
    """

    file: str
    sha256: str
    model: onnx.ModelProto
    spec: DetectorSpec
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    size: Size
    _made: dict[Size, tuple[bytes, int, int]] = field(default_factory=dict, repr=False)

    @property
    def info(self) -> WrappedInfo:
        """For the manifest."""
        return WrappedInfo(self.file, self.sha256, self.spec.family, tuple(note[:500] for note in self.notes[:64]))

    def graph(self, size: Size) -> bytes:
        """Picture to final boxes at a size, serialised.

        Raises:
            DetectorSize: if the detector cannot run at this size.
            ExportError: if the result is not valid ONNX.
        """
        made = self._made.get(size)
        if made is None:
            model = wrap_detector(
                self.model,
                self.spec,
                height_px=size[0],
                width_px=size[1],
                classes=self.classes,
                score_floor=SCORE_FLOOR,
                max_detections=MAX_DETECTIONS,
            )
            made = self._made[size] = (model.SerializeToString(deterministic=True), *count_graph(model))
        return made[0]

    def counts(self, size: Size) -> tuple[int, int]:
        """Parameters and multiply-adds of the graph at a size."""
        self.graph(size)
        return self._made[size][1:]


def open_subject(
    path: Path,
    *,
    family: Family | None = None,
    overrides: Mapping[str, object] | None = None,
    classes: Path | None = None,
    size: Size | None = None,
) -> Subject:
    """Read a detector and recognise it.

    Args:
        path: the ONNX file.
        family: which rules to read it by; None recognises it.
        overrides: fields of its spec that the user gave.
        classes: a file of class names.
        size: the input wanted; None takes the file's own.

    Raises:
        DetectorError: if the file is refused, of no known family, or cannot run at the size.
    """
    raw = _read(path)
    model = read_detector(raw)
    spec = recognise(model, family or "auto", size_px=size, overrides=overrides)
    names, source = class_names(model, spec, classes)
    wanted = size or (spec.height_px, spec.width_px)
    subject = Subject(path.name, hashlib.sha256(raw).hexdigest(), model, spec, names, (*spec.assumed, source), wanted)
    subject.graph(wanted)  # refused now, if at all
    return subject


def smaller_sizes(subject: Subject) -> tuple[Size, ...]:
    """Smaller inputs of nearly the same shape, the largest first; none where the detector has one size."""
    spec, (height, width) = subject.spec, subject.size
    if spec.sizes == "fixed":
        return ()
    step = spec.size_multiple_px
    found: list[Size] = []
    for share in _SMALLER:
        size = (max(round(height * share / step), 1) * step, max(round(width * share / step), 1) * step)
        fits = min(size) >= min(_LEAST_PX, height, width) and size[0] * size[1] < height * width
        if fits and size not in found:
            found.append(size)
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DETECTOR_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "Give the detector's file."
        raise DetectorRefused(
            f"detector {path} is refused", got=reason, expected="a readable .onnx file", fix=fix
        ) from error
