"""What a learnt bundle is held to: the detector's file itself, and the trained network in torch around it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lsts_edge.boxes import Boxes
from lsts_edge.export.detectors.reference import reference_detections, reference_feeds
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.wrap import CANDIDATES
from lsts_edge.publish.wrap.learn.learn import Learnt
from lsts_edge.publish.wrap.learn.network import Maps
from lsts_edge.publish.wrap.subject import MAX_DETECTIONS, SCORE_FLOOR, Subject
from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.verify.golden import GoldenRecorder, TensorSample
from lsts_edge.verify.parity import EXACT, Doubt, doubt_of
from lsts_edge.verify.references import FrameTruth, image_digest

__all__ = ["LearntReference"]

Array = npt.NDArray[Any]

_NUDGE = 2e-5  # of the table, relative to its largest number: engines differ by as much


class LearntReference:
    """Runs the file at both sizes and the network in torch, with its own memory; see ``verify.Reference``.

    Args:
        subject: the detector.
        learnt: what was learnt around it.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        backend: runs the file.
        keyframe_interval: frames from one keyframe to the next.
        recorder: told of every frame, to write the bundle's recording.
    """

    def __init__(
        self,
        subject: Subject,
        learnt: Learnt,
        images: Iterable[Array],
        backend: Backend,
        keyframe_interval: int,
        recorder: GoldenRecorder | None = None,
    ) -> None:
        layout = learnt.frozen.layout
        half = (layout.size[0] // 2, layout.size[1] // 2)
        taps = [tap.tensor for tap in learnt.frozen.taps]
        self._full = _session(subject, layout.size, backend, [])
        self._half = _session(subject, half, backend, taps)
        self._subject, self._learnt, self._images = subject, learnt, images
        self._interval, self._recorder = keyframe_interval, recorder
        self.description = (
            f"{subject.file} on {backend.name} {backend.version}, and torch {torch.__version__} around it"
        )
        self.limits = EXACT

    def frames(self) -> Iterator[FrameTruth]:
        """Run picture after picture."""
        memory: Maps = []
        then: Maps = []
        for index, image in enumerate(self._images):
            kind = "first" if index == 0 else "propagated" if index % self._interval else "keyframe"
            arrays, read, now = self._seen(image)
            if kind == "propagated":
                network = self._learnt.network
                with torch.no_grad():
                    aligned = [
                        network.align(level, memory[level], then[level], now[level]) for level in range(len(now))
                    ]
                    memory = network.join(read, aligned, self._light(arrays))
                arrays |= _named("transformed", read) | _named("now", now) | _named("aligned", aligned)
                table = self._learnt.frozen.layout.table_of_maps([one[0].numpy() for one in memory])
            else:
                table = self._table(image)
                memory = [torch.from_numpy(one[None]) for one in self._learnt.frozen.layout.maps(table)]
            then = now
            arrays |= _named("memory", memory) | _named("embedding", then) | {"table": table}
            boxes = self._boxes(table)

            @functools.cache
            def doubt(boxes: Boxes = boxes, table: Array = table) -> Doubt:
                return doubt_of(boxes, (self._boxes(_nudged(table, seed)) for seed in range(4)))

            if self._recorder is not None:
                self._recorder.add(kind, image_digest(image), arrays, boxes, doubt())
            tensors = {
                name: TensorSample(array, float(np.abs(array).max(initial=0.0))) for name, array in arrays.items()
            }
            yield FrameTruth(image, kind, tensors, boxes, doubt)  # type: ignore[arg-type]

    def _table(self, image: Array) -> Array:
        given = self._full.run(self._feeds(image, halved=False))
        return self._learnt.frozen.layout.table(given)

    def _seen(self, image: Array) -> tuple[dict[str, Array], Maps, Maps]:
        """The half-size picture's maps and features by slot, and what the network reads in them."""
        frozen = self._learnt.frozen
        given = self._half.run(self._feeds(image, halved=True))
        maps = frozen.layout.maps(frozen.layout.table(given), 0.5)
        arrays = {f"light_{level}": one[None] for level, one in enumerate(maps)}
        features = {tap.slot: given[tap.tensor] for tap in frozen.taps}
        with torch.no_grad():
            read, now = self._learnt.network.read(
                [torch.from_numpy(value) for value in features.values()], self._light(arrays)
            )
        return arrays | features, read, now

    def _feeds(self, image: Array, *, halved: bool) -> dict[str, Array]:
        spec = self._subject.spec
        name = spec.image_input
        planes = reference_feeds(spec, image)[name]
        if halved:
            batch, channels, height, width = planes.shape
            cells = planes.reshape(batch, channels, height // 2, 2, width // 2, 2).astype(np.float64)
            planes = cells.mean(axis=(3, 5)).astype(np.float32)
        return {name: planes}

    @staticmethod
    def _light(arrays: dict[str, Array]) -> Maps:
        levels = sum(name.startswith("light_") for name in arrays)
        return [torch.from_numpy(arrays[f"light_{level}"]) for level in range(levels)]

    def _boxes(self, table: Array) -> Boxes:
        layout = self._learnt.frozen.layout
        found = reference_detections(
            layout.canonical(),
            {"table": table},
            height_px=layout.size[0],
            width_px=layout.size[1],
            class_count=layout.classes,
            score_floor=SCORE_FLOOR,
            nms_iou=layout.spec.nms_iou,
            max_detections=MAX_DETECTIONS,
            candidates=CANDIDATES,
        )
        return Boxes(*found)


def _session(subject: Subject, size: tuple[int, int], backend: Backend, more: list[str]) -> Session:
    """The file at a size, with some of its inner tensors as outputs too."""
    import onnx

    model = resized(subject.model, subject.spec, *size)
    there = {info.name for info in model.graph.output}
    for name in more:
        if name not in there:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return backend.load(model.SerializeToString(deterministic=True), subject.file)


def _named(name: str, values: Maps) -> dict[str, Array]:
    return {f"{name}_{level}": value.numpy() for level, value in enumerate(values)}


def _nudged(table: Array, seed: int) -> Array:
    scale = _NUDGE * float(np.abs(table).max(initial=0.0))
    moved = np.random.RandomState(seed).uniform(-scale, scale, table.shape)
    return np.asarray(table + moved, np.float32)
