"""The frozen network cut for propagation: its table at full size; features and maps of the half-size picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from lsts_edge.errors import DetectorSpecError
from lsts_edge.export.detectors.decode import Reading
from lsts_edge.export.detectors.nodes import Nodes
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.shapes import shapes_at
from lsts_edge.export.detectors.wrap import CANDIDATES, add_detections, add_picture
from lsts_edge.export.finished import OPSET, finished
from lsts_edge.publish.wrap.learn.layout import LIGHT_SCALE, DenseLayout
from lsts_edge.publish.wrap.subject import MAX_DETECTIONS, SCORE_FLOOR, Size, Subject

__all__ = ["Frozen", "Tap", "feature_taps", "frozen_graphs"]

_MOST_CHANNELS = 1024
_GROWS = ("Resize", "Upsample", "ConvTranspose")


@dataclass(frozen=True)
class Tap:
    """A feature of the frozen network: its tensor, ``stride`` on the half-size picture, and shape ``(C, h, w)``."""

    tensor: str
    stride: int
    shape: tuple[int, int, int]

    @property
    def slot(self) -> str:
        """Its name in our graphs."""
        return f"feature_{self.stride}"


@dataclass(frozen=True)
class Frozen:
    """The graphs that are not trained, and what they give.

    Attributes:
        layout: of the table.
        taps: features of the half-size picture, the finest first.
        graphs: ``heavy``: ``image -> table``; ``remember``: ``table -> map_0 ...``; ``light``: ``image -> light_0 ...,
            feature_4 ...``; ``head``: ``table -> boxes, scores, labels``.
    """

    layout: DenseLayout
    taps: tuple[Tap, ...]
    graphs: Mapping[str, onnx.ModelProto]


def frozen_graphs(subject: Subject, size: Size) -> Frozen:
    """Cut a detector.

    Args:
        subject: the detector.
        size: of the picture.

    Raises:
        DetectorSpecError: if it has no dense levels, or no features at the strides that are needed.
        DetectorSize: if it cannot run at half the size.
    """
    layout = DenseLayout.of(subject.spec, size, len(subject.classes))
    half = (round(size[0] * LIGHT_SCALE), round(size[1] * LIGHT_SCALE))
    taps = feature_taps(resized(subject.model, subject.spec, *half), layout)
    graphs = {
        "heavy": _heavy(subject, layout),
        "light": _light(subject, layout, half, taps),
        "remember": _remember(layout),
        "head": _head(layout),
    }
    return Frozen(layout, taps, graphs)


def feature_taps(half: onnx.ModelProto, layout: DenseLayout) -> tuple[Tap, ...]:
    """The last feature of each stride before anything is enlarged: of half the stride of each level, and the next.

    Args:
        half: the network at half size.
        layout: of the full one.

    Raises:
        DetectorSpecError: if one is missing.
    """
    spec = layout.spec
    height, width = (round(side * LIGHT_SCALE) for side in layout.size)
    shapes = shapes_at(half, {spec.image_input: (1, 3, height, width)}, {}).of
    wanted = [stride // 2 for stride in spec.strides] + [spec.strides[-1]]
    found: dict[int, Tap] = {}
    for node in half.graph.node:
        if node.op_type in _GROWS:
            break
        shape = shapes.get(node.output[0], ())
        if len(shape) != 4 or shape[0] != 1 or not 3 < shape[1] <= _MOST_CHANNELS:
            continue
        for stride in wanted:
            if shape[2:] == (height // stride, width // stride):
                found[stride] = Tap(node.output[0], stride, (shape[1], shape[2], shape[3]))
    missing = [stride for stride in wanted[:-1] if stride not in found]
    if missing:
        raise DetectorSpecError(
            "--learn: features of the detector",
            got=f"none at strides {missing} before its pyramid",
            expected=f"feature maps at strides {wanted[:-1]}",
            fix="Wrap it without --learn.",
        )
    return tuple(found[stride] for stride in wanted if stride in found)


def _opened(model: onnx.ModelProto) -> tuple[gs.Graph, Nodes]:
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    graph = gs.import_onnx(model)
    for tensor in graph.tensors().values():
        tensor.name = f"net/{tensor.name}"
    return graph, Nodes(graph, opset, "learn/")


def _heavy(subject: Subject, layout: DenseLayout) -> onnx.ModelProto:
    graph, nodes = _opened(resized(subject.model, subject.spec, *layout.size))
    add_picture(nodes, graph, subject.spec, *layout.size)
    return _closed(graph, "heavy", {"table": (_table(nodes, layout, graph), _table_shape(layout))})


def _light(subject: Subject, layout: DenseLayout, half: Size, taps: tuple[Tap, ...]) -> onnx.ModelProto:
    graph, nodes = _opened(resized(subject.model, subject.spec, *half))
    tensors = graph.tensors()
    features = {tap.slot: (tensors[f"net/{tap.tensor}"], (1, *tap.shape)) for tap in taps}
    add_picture(nodes, graph, subject.spec, *layout.size, halved=True)
    maps = _maps(nodes, layout, _table(nodes, layout, graph), LIGHT_SCALE)
    outputs = {f"light_{level}": value for level, value in enumerate(maps)}
    # A feature that the network's own output is would have two names.
    kept = {name: (nodes.op("Identity", tensor), shape) for name, (tensor, shape) in features.items()}
    return _closed(graph, "light", {**outputs, **kept})


def _remember(layout: DenseLayout) -> onnx.ModelProto:
    graph, nodes, table = _of_table(layout)
    maps = _maps(nodes, layout, table, 1.0)
    return _closed(graph, "remember", {f"map_{level}": value for level, value in enumerate(maps)})


def _head(layout: DenseLayout) -> onnx.ModelProto:
    graph, nodes, table = _of_table(layout)
    reading = Reading(layout.canonical(), *layout.size, layout.classes, SCORE_FLOOR, CANDIDATES)
    add_detections(nodes, graph, reading, {"table": table}, layout.spec.nms_iou, MAX_DETECTIONS)
    graph.name = "head"
    return finished(gs.export_onnx(graph.cleanup().toposort(), do_type_check=False))


def _of_table(layout: DenseLayout) -> tuple[gs.Graph, Nodes, gs.Variable]:
    table = gs.Variable("table", np.float32, _table_shape(layout))
    graph = gs.Graph(inputs=[table], opset=OPSET)
    return graph, Nodes(graph, OPSET, "learn/"), table


def _table_shape(layout: DenseLayout) -> tuple[int, int]:
    return sum(height * width for height, width in layout.grids()), layout.width


def _table(nodes: Nodes, layout: DenseLayout, graph: gs.Graph) -> Any:
    """As ``DenseLayout.table``."""
    spec = layout.spec
    outputs = {tensor.name.removeprefix("net/"): tensor for tensor in graph.outputs}

    def rows(names: tuple[str, ...], width: int, transposed: bool) -> Any:
        parts = [
            nodes.op("Transpose", nodes.reshape(outputs[name], width, -1), perm=[1, 0])
            if transposed
            else nodes.reshape(outputs[name], -1, width)
            for name in names
        ]
        return nodes.concat(parts, 0)

    if not spec.columns:
        boxes = rows(spec.outputs["boxes"], layout.box_numbers, False)
        return nodes.op("Concat", boxes, rows(spec.outputs["scores"], layout.classes, spec.transposed), axis=1)
    found = rows(spec.outputs["rows"], layout.width, spec.transposed)
    widths = {"box": layout.box_numbers, "objectness": 1, "classes": layout.classes}
    order = [name for name in widths if name in spec.columns]
    if list(spec.columns) == order:
        return found
    ends = dict(zip(spec.columns, np.cumsum([widths[name] for name in spec.columns]).tolist(), strict=True))
    return nodes.concat([nodes.slice(found, ends[name] - widths[name], ends[name], 1) for name in order], 1)


def _maps(nodes: Nodes, layout: DenseLayout, table: Any, scale: float) -> list[tuple[Any, tuple[int, ...]]]:
    """As ``DenseLayout.maps``, with a batch axis."""
    box, scores = (
        nodes.slice(table, *ends, 1) for ends in ((0, layout.box_numbers), (layout.box_numbers, layout.width))
    )
    limits = layout.limits
    if layout.spec.box_form == "cells":
        low = nodes.slice(box, 0, 2, 1)
        box = nodes.concat([low, _clipped(nodes, nodes.slice(box, 2, 4, 1), *limits.log_size)], 1)
    if layout.spec.score_form == "probability":
        scores = _clipped(nodes, scores, *limits.probability)
        scores = nodes.op("Log", nodes.op("Div", scores, nodes.op("Sub", nodes.constant(1.0), scores)))
    scores = _clipped(nodes, scores, *limits.logit)
    state = nodes.op("Add", nodes.concat([box, scores], 1), nodes.constant(layout.shift[None]))
    found: list[tuple[Any, tuple[int, ...]]] = []
    start = 0
    for height, width in layout.grids(scale):
        part = nodes.op("Transpose", nodes.slice(state, start, start + height * width, 0), perm=[1, 0])
        found.append((nodes.reshape(part, 1, layout.width, height, width), (1, layout.width, height, width)))
        start += height * width
    return found


def _clipped(nodes: Nodes, value: Any, low: float, high: float) -> Any:
    return nodes.op("Clip", value, nodes.constant(low), nodes.constant(high))


def _closed(graph: gs.Graph, name: str, outputs: Mapping[str, tuple[Any, tuple[int, ...]]]) -> onnx.ModelProto:
    for slot, (value, shape) in outputs.items():
        value.name, value.shape, value.dtype = slot, shape, np.float32
    graph.outputs = [value for value, _ in outputs.values()]
    graph.name = name
    graph.cleanup(remove_unused_graph_inputs=True).toposort()
    return finished(gs.export_onnx(graph, do_type_check=False))
