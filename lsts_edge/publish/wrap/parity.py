"""Holds the graphs of a wrapped detector to the file itself: its own outputs, decoded in NumPy."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.export.detectors.reference import reference_detections, reference_feeds
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.wrap import CANDIDATES
from lsts_edge.publish.wrap.subject import MAX_DETECTIONS, SCORE_FLOOR, Size, Subject
from lsts_edge.runtime.engines.interface import Backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import ParityReport, check_parity, verify_bundle
from lsts_edge.verify.golden import GoldenRecorder
from lsts_edge.verify.parity import EXACT, Doubt, doubt_of
from lsts_edge.verify.references import FrameTruth, image_digest

__all__ = ["OriginalReference", "check_original"]

Array = npt.NDArray[Any]

_NUDGE = 2e-5
"""Of every output, relative to its largest magnitude: engines differ by as much, so boxes that change are doubtful."""


class OriginalReference:
    """Runs the detector as it came, at one of its sizes, and decodes in double precision; see ``verify.Reference``.

    Args:
        subject: the detector.
        size: of the pictures.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        backend: the engine that runs it.
        recorder: told of every frame, to write the bundle's recording.
    """

    def __init__(
        self,
        subject: Subject,
        size: Size,
        images: Iterable[Array],
        backend: Backend,
        recorder: GoldenRecorder | None = None,
    ) -> None:
        raw = resized(subject.model, subject.spec, *size)
        self._session = backend.load(raw.SerializeToString(deterministic=True), subject.file)
        self._subject = subject
        self._size = size
        self._images = images
        self._recorder = recorder
        self.description = f"{subject.file} on {backend.name} {backend.version}"
        self.limits = EXACT

    def frames(self) -> Iterator[FrameTruth]:
        """Run picture after picture."""
        spec = self._subject.spec
        wanted = {name for names in spec.outputs.values() for name in names}
        for image in self._images:
            feeds = reference_feeds(spec, image)
            given = self._session.run({name: feeds[name] for name in feeds if name not in spec.size_inputs})
            outputs = {name: given[name] for name in sorted(wanted)}
            boxes = self._decoded(outputs)

            @functools.cache
            def doubt(boxes: Boxes = boxes, outputs: dict[str, Array] = outputs) -> Doubt:
                return doubt_of(boxes, (self._decoded(_nudged(outputs, seed)) for seed in range(4)))

            if self._recorder is not None:
                self._recorder.add("first", image_digest(image), {}, boxes, doubt())
            yield FrameTruth(image, "first", {}, boxes, doubt)

    def _decoded(self, outputs: dict[str, Array]) -> Boxes:
        found = reference_detections(
            self._subject.spec,
            outputs,
            height_px=self._size[0],
            width_px=self._size[1],
            class_count=len(self._subject.classes),
            score_floor=SCORE_FLOOR,
            nms_iou=self._subject.spec.nms_iou,
            max_detections=MAX_DETECTIONS,
            candidates=CANDIDATES,
        )
        return Boxes(found[0], found[1], found[2])


def check_original(
    subject: Subject,
    bundle: Bundle,
    images: Sequence[Array],
    engines: Sequence[EngineOptions],
    backend: Backend,
    recorder: GoldenRecorder | None = None,
) -> list[ParityReport]:
    """Compare a float32 bundle's frames on every engine with the file itself.

    Args:
        subject: the detector.
        bundle: of it, perhaps a draft.
        images: at the bundle's size.
        engines: that run the bundle.
        backend: that runs the file.
        recorder: told of every frame once.

    Raises:
        CheckFailed: if they disagree.
        ProviderError: if an engine refuses a graph.
    """
    reports = []
    size = (bundle.manifest.input.height_px, bundle.manifest.input.width_px)
    for index, engine in enumerate(engines):
        truth = OriginalReference(subject, size, images, backend, recorder if index == 0 else None)
        reports.append(verify_bundle(bundle, truth, engine))
        check_parity(reports[-1])
    return reports


def _nudged(outputs: dict[str, Array], seed: int) -> dict[str, Array]:
    random = np.random.RandomState(seed)

    def moved(values: Array) -> Array:
        if values.dtype.kind != "f":
            return values
        scale = _NUDGE * float(np.abs(values).max(initial=0.0))
        return (values + random.uniform(-scale, scale, values.shape)).astype(values.dtype)

    return {name: moved(values) for name, values in outputs.items()}
