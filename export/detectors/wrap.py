"""Makes of any known detector a graph of our own kind: a BGR picture in, final boxes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from lsts_edge.errors import DetectorSpecError, ExportError, OptionError
from lsts_edge.export.detectors.activations import join_hard_swish
from lsts_edge.export.detectors.decode import DetectionValues, Reading, add_decoding
from lsts_edge.export.detectors.nodes import Nodes
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.spec import DetectorSpec
from lsts_edge.export.finished import finished

__all__ = ["CANDIDATES", "add_detections", "add_picture", "wrap_detector"]

CANDIDATES = 300
"""Most boxes that suppression compares."""


def wrap_detector(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    *,
    height_px: int,
    width_px: int,
    classes: Sequence[str],
    score_floor: float = 0.05,
    nms_iou: float | None = None,
    max_detections: int = 100,
    candidates: int = CANDIDATES,
) -> onnx.ModelProto:
    """One graph ``image -> boxes, scores, labels`` in standard operators.

    ``image`` is uint8 ``(1, height_px, width_px, 3)`` BGR, resized and padded by ``spec.resize``; colour order, scale
    and mean are inside. ``boxes`` ``(D, 4)`` float32 xyxy in network pixels, ``scores`` ``(D,)`` float32 falling,
    ``labels`` ``(D,)`` int64: the slots of a bundle's head. Corners are edges: a box is ``x2 - x1`` wide.
    ``reference.py`` says the same in NumPy.

    Args:
        model: as ``read_detector`` gives it; not changed.
        spec: as ``recognise`` gives it.
        height_px: the network's picture; see ``resized``.
        width_px: likewise.
        classes: their names, as many as the detector has.
        score_floor: boxes must score more.
        nms_iou: overlap from which the lesser box of a class goes; None for ``spec.nms_iou``.
        max_detections: most boxes of a picture.
        candidates: most boxes that suppression compares, the best.

    Raises:
        DetectorSize: if the detector cannot run at this size.
        DetectorSpecError: if there are more or fewer names than classes.
        OptionError: if a number is out of its range.
        ExportError: if the result is not valid ONNX.
    """
    _check(0 <= score_floor < 1, "score_floor", score_floor, "0 to below 1")
    _check(1 <= max_detections <= 10_000, "max_detections", max_detections, "1..10000")
    _check(1 <= candidates <= 100_000, "candidates", candidates, "1..100000")
    overlap = spec.nms_iou if nms_iou is None else nms_iou
    _check(0 < overlap <= 1, "nms_iou", overlap, "above 0, at most 1")
    if not classes or spec.class_count not in (None, len(classes)):
        raise DetectorSpecError(
            "names of the classes",
            got=f"{len(classes)} names",
            expected=f"{spec.class_count or 'at least one'}",
            fix="Give a file with one name in each line, in the detector's order.",
        )
    raw = resized(model, spec, height_px, width_px)
    opset = max(entry.version for entry in raw.opset_import if entry.domain in ("", "ai.onnx"))
    try:
        graph = gs.import_onnx(raw)
    except Exception as error:  # whatever a hostile attribute makes the importer say
        raise ExportError(
            "the detector's graph", got=str(error)[:200], expected="a graph that onnx-graphsurgeon reads",
            fix="Export the detector again.",
        ) from error  # fmt: skip
    join_hard_swish(graph)
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    for tensor in graph.tensors().values():
        tensor.name = f"net/{tensor.name}"
    nodes = Nodes(graph, opset, "wrap/")
    add_picture(nodes, graph, spec, height_px, width_px)
    kept = candidates if spec.suppression == "added" else min(candidates, max_detections)
    reading = Reading(spec, height_px, width_px, len(classes), score_floor, kept)
    add_detections(nodes, graph, reading, outputs, overlap, max_detections)
    graph.name = "detector"
    graph.cleanup(remove_unused_graph_inputs=True).toposort()
    return finished(gs.export_onnx(graph, do_type_check=False))


def add_detections(
    nodes: Nodes, graph: gs.Graph, reading: Reading, outputs: Mapping[str, Any], overlap: float, most: int
) -> None:
    """Decoding and suppression behind the network; its outputs become ``boxes``, ``scores`` and ``labels``.

    Args:
        nodes: of the graph.
        graph: is changed.
        reading: how the outputs are read.
        outputs: by name.
        overlap: from which the lesser box of a class goes.
        most: boxes of a picture.
    """
    found = add_decoding(nodes, reading, outputs)
    if reading.spec.suppression == "added":
        found = _suppressed(nodes, found, reading, overlap, most)
    else:
        found = _cut(nodes, found)
    _name_outputs(graph, found)


def add_picture(
    nodes: Nodes, graph: gs.Graph, spec: DetectorSpec, height_px: int, width_px: int, *, halved: bool = False
) -> None:
    """The bundle's ``image`` in place of the network's input.

    Args:
        nodes: of the graph.
        graph: is changed.
        spec: how the network wants its picture.
        height_px: of the image.
        width_px: likewise.
        halved: the network sees means of two by two pixels; it takes float32 planes.
    """
    image = gs.Variable("image", dtype=np.uint8, shape=(1, height_px, width_px, 3))
    inner = next(tensor for tensor in graph.inputs if tensor.name == f"net/{spec.image_input}")
    graph.inputs = [image]
    value: Any = image
    axis = 3
    if spec.layout == "nchw":  # while a pixel is one byte
        value, axis = nodes.op("Transpose", value, perm=[0, 3, 1, 2]), 1
    # OpenVINO 2026.4 folds a Gather of channels into the convolution behind it by the permutation where its inverse is
    # due; this one is its own inverse.
    if spec.color_order == "rgb":
        value = nodes.op("Gather", value, nodes.ints(2, 1, 0), axis=axis)
    if spec.dtype == "uint8":
        nodes.into(inner, "Identity", value)
        return
    value = nodes.cast(value, "float32")
    shape = (1, 3, 1, 1) if spec.layout == "nchw" else (1, 1, 1, 3)
    factor = np.reshape(spec.scale / np.array(spec.std), shape)
    shift = np.reshape(np.array(spec.mean) / spec.scale, shape)
    if np.any(shift != 0):
        value = nodes.op("Sub", value, nodes.constant(shift))
    if np.any(factor != 1):
        value = nodes.op("Mul", value, nodes.constant(factor))
    if halved:
        value = nodes.op("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
    nodes.into(inner, "Cast", value, to=np.dtype(spec.dtype).type)


def _suppressed(nodes: Nodes, found: DetectionValues, reading: Reading, overlap: float, most: int) -> DetectionValues:
    """Class by class: a box goes if a better one of its class overlaps it by more than ``overlap``."""
    boxes, scores, labels = found
    kinds = nodes.constant(np.arange(reading.class_count)[:, None], "int64")
    of_class = nodes.op("Equal", nodes.reshape(labels, 1, -1), kinds)
    table = nodes.op("Where", of_class, nodes.reshape(scores, 1, -1), 0.0)  # (classes, K)
    chosen = nodes.op(
        "NonMaxSuppression",
        nodes.reshape(boxes, 1, -1, 4),
        nodes.reshape(table, 1, reading.class_count, -1),
        nodes.constant([most], "int64"),
        nodes.constant([overlap]),
        nodes.constant([reading.score_floor]),
    )
    index = nodes.reshape(nodes.slice(chosen, 2, 3, 1), -1)
    # The candidates are sorted: the least index is the best box.
    index, _ = nodes.top(index, nodes.op("Min", nodes.op("Shape", index), nodes.ints(most)), largest=False)
    return _each(lambda value: nodes.op("Gather", value, index, axis=0), found)


def _cut(nodes: Nodes, found: DetectionValues) -> DetectionValues:
    """Those that have a score; they come first."""
    _, scores, _ = found
    some = nodes.cast(nodes.op("Greater", scores, 0.0), "int64")
    count = nodes.op("ReduceSum", some, nodes.ints(0), keepdims=1)
    return _each(lambda value: nodes.op("Slice", value, nodes.ints(0), count, nodes.ints(0)), found)


def _each(make: Callable[[Any], Any], found: DetectionValues) -> DetectionValues:
    boxes, scores, labels = found
    return make(boxes), make(scores), make(labels)


def _name_outputs(graph: gs.Graph, found: DetectionValues) -> None:
    kinds = (("boxes", ("D", 4), np.float32), ("scores", ("D",), np.float32), ("labels", ("D",), np.int64))
    for value, (name, shape, dtype) in zip(found, kinds, strict=True):
        value.name, value.shape, value.dtype = name, shape, dtype
    graph.outputs = list(found)


def _check(fits: bool, what: str, got: object, expected: str) -> None:
    if not fits:
        raise OptionError(what, got=got, expected=expected, fix="Choose a number in the range.")
