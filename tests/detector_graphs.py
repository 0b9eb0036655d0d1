"""Tiny detectors with random weights, a graph for each family, as its project's exporter writes the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CLASSES", "GRAPHS", "SIZE", "Sketch", "renamed"]

CLASSES = 3
SIZE = (64, 96)
_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


class Sketch:
    """A graph in a few lines; all weights come from one seed."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.random = np.random.RandomState(seed)

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, count: int = 1, name: str = "", **attributes: Any) -> Any:
        names = [name or f"t{len(self.nodes)}.{index}" for index in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if count == 1 else names

    def reshape(self, value: str, *shape: int, name: str = "") -> str:
        return str(self.op("Reshape", value, self.constant(shape, "int64"), name=name))

    def conv(self, value: str, channels: int, out: int, stride: int, spread: float = 1.0) -> str:
        """A square convolution that makes one cell of ``stride`` pixels, padded as far as it overlaps the border."""
        weight = self.random.randn(out, channels, stride, stride) * spread / (channels**0.5 * stride * 40)
        bias = self.random.randn(out) * 0.3
        values = [value, self.constant(weight), self.constant(bias)]
        return str(self.op("Conv", *values, strides=[stride, stride], auto_pad="SAME_UPPER"))

    def output(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> None:
        self.outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))

    def model(self, opset: int = 18, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, dict(metadata or {}))
        onnx.checker.check_model(model)
        return model


def cells(size: tuple[int, int], *strides: int) -> int:
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def yolox(size: tuple[int, int] = SIZE, opset: int = 11) -> onnx.ModelProto:
    """``(1, N, 5 + C)``: raw boxes, objectness and classes after a sigmoid."""
    s = Sketch(1)
    image = s.input("images", (1, 3, *size))
    levels = []
    for stride in (8, 16, 32):
        raw = s.conv(image, 3, 5 + CLASSES, stride, spread=0.02)
        ends = [s.constant(v, "int64") for v in ([0], [4], [99], [1])]
        box = s.op("Slice", raw, ends[0], ends[1], ends[3])
        chances = s.op("Sigmoid", s.op("Slice", raw, ends[1], ends[2], ends[3]))
        levels.append(s.reshape(s.op("Concat", box, chances, axis=1), 1, 5 + CLASSES, -1))
    s.op("Transpose", s.op("Concat", *levels, axis=2), perm=[0, 2, 1], name="output")
    s.output("output", (1, cells(size, 8, 16, 32), 5 + CLASSES))
    return s.model(opset)


def picodet(size: tuple[int, int] = SIZE, opset: int = 11, shuffle: bool = True) -> onnx.ModelProto:
    """Four levels of scores and distances; a channel shuffle holds the grid, or gathers channels instead."""
    s = Sketch(2)
    image = s.input("image", (1, 3, *size))
    named: dict[str, tuple[int, int]] = {}
    for level, stride in enumerate((8, 16, 32, 64)):
        grid = (-(-size[0] // stride), -(-size[1] // stride))
        feature = s.conv(image, 3, 8, stride)
        if shuffle:
            split = s.reshape(feature, 1, 2, 4, *grid)
            feature = s.reshape(s.op("Transpose", split, perm=[0, 2, 1, 3, 4]), 1, 8, *grid)
        else:
            feature = s.op("Gather", feature, s.constant([0, 4, 1, 5, 2, 6, 3, 7], "int64"), axis=1)
        for base, width in ((0, CLASSES), (4, 32)):
            name = f"save_infer_model/scale_{base + level}.tmp_1"
            raw = s.conv(feature, 8, width, 1, spread=30.0)
            raw = s.op("Sigmoid", raw) if base == 0 else raw
            s.op("Transpose", s.reshape(raw, 1, width, -1), perm=[0, 2, 1], name=name)
            named[name] = (grid[0] * grid[1], width)
    for name in sorted(named):
        s.output(name, (1, *named[name]))
    return s.model(opset)


def nanodet(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """``(1, N, C + 32)``: classes after a sigmoid, then distances."""
    s = Sketch(3)
    image = s.input("data", (1, 3, *size))
    levels = []
    for stride in (8, 16, 32, 64):
        raw = s.conv(image, 3, CLASSES + 32, stride, spread=2.0)
        scores, box = s.op("Split", raw, s.constant([CLASSES, 32], "int64"), count=2, axis=1)
        both = s.op("Concat", s.op("Sigmoid", scores), box, axis=1)
        levels.append(s.reshape(both, 1, CLASSES + 32, -1))
    s.op("Transpose", s.op("Concat", *levels, axis=2), perm=[0, 2, 1], name="output")
    s.output("output", (1, cells(size, 8, 16, 32, 64), CLASSES + 32))
    return s.model(13)


def _queries(s: Sketch, image: str, size: tuple[int, int]) -> tuple[str, str]:
    """Class logits ``(1, Q, C)`` and boxes cxcywh ``(1, Q, 4)`` in 0..1, moved from anchors that are baked in."""
    grid = (-(-size[0] // 16), -(-size[1] // 16))
    logits = s.op("Transpose", s.reshape(s.conv(image, 3, CLASSES, 16, 4.0), 0, CLASSES, -1), perm=[0, 2, 1])
    moves = s.op("Transpose", s.reshape(s.conv(image, 3, 4, 16), 0, 4, -1), perm=[0, 2, 1])
    anchors = s.random.randn(1, grid[0] * grid[1], 4)
    return logits, s.op("Sigmoid", s.op("Add", moves, s.constant(anchors)))


def detr_final(size: tuple[int, int] = SIZE, batch: int | str = "N") -> onnx.ModelProto:
    """Labels, boxes and scores of the best 20, in pixels of ``orig_target_sizes``."""
    s = Sketch(4)
    image = s.input("images", (batch, 3, *size))
    target = s.input("orig_target_sizes", (batch, 2), "int64")
    logits, boxes = _queries(s, image, size)
    middle, sides = s.op("Split", boxes, s.constant([2, 2], "int64"), count=2, axis=2)
    half = s.op("Mul", sides, s.constant(0.5))
    corners = s.op("Concat", s.op("Sub", middle, half), s.op("Add", middle, half), axis=2)
    unit = s.op("Unsqueeze", s.op("Tile", target, s.constant([1, 2], "int64")), s.constant([1], "int64"))
    corners = s.op("Mul", corners, s.op("Cast", unit, to=TensorProto.FLOAT))
    flat = s.op("Flatten", s.op("Sigmoid", logits), axis=1)
    s.nodes.append(helper.make_node("TopK", [flat, s.constant([20], "int64")], ["scores", "index"], axis=1))
    row = s.op("Div", "index", s.constant(CLASSES, "int64"))
    s.op("Sub", "index", s.op("Mul", row, s.constant(CLASSES, "int64")), name="labels")
    wide = s.op("Tile", s.op("Unsqueeze", row, s.constant([2], "int64")), s.constant([1, 1, 4], "int64"))
    s.op("GatherElements", corners, wide, axis=1, name="boxes")
    s.output("labels", ("N", 20), "int64")
    s.output("boxes", ("N", 20, 4))
    s.output("scores", ("N", 20))
    return s.model(17)


def detr_logits(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """``logits`` and ``pred_boxes`` of each query."""
    s = Sketch(5)
    logits, boxes = _queries(s, s.input("pixel_values", (1, 3, *size)), size)
    s.op("Identity", logits, name="logits")
    s.op("Identity", boxes, name="pred_boxes")
    s.output("logits", (1, cells(size, 16), CLASSES))
    s.output("pred_boxes", (1, cells(size, 16), 4))
    return s.model()


def detr_rows(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """``(1, Q, 4 + C)``: boxes in 0..1, then chances."""
    s = Sketch(6)
    logits, boxes = _queries(s, s.input("images", (1, 3, *size)), size)
    s.op("Concat", boxes, s.op("Sigmoid", logits), axis=2, name="output0")
    s.output("output0", (1, cells(size, 16), 4 + CLASSES))
    return s.model()


def yolov5(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """``(1, 3 N, 5 + C)`` decoded by constant grids, which fix the size."""
    s = Sketch(7)
    image = s.input("images", (1, 3, *size))
    levels = []
    for stride in (8, 16, 32):
        high, wide = size[0] // stride, size[1] // stride
        raw = s.reshape(s.conv(image, 3, 3 * (5 + CLASSES), stride), 1, 3, 5 + CLASSES, high, wide)
        raw = s.op("Sigmoid", s.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = s.op("Split", raw, s.constant([2, 2, 1 + CLASSES], "int64"), count=3, axis=4)
        grid = np.stack(np.meshgrid(np.arange(wide), np.arange(high)), -1).reshape(1, 1, high, wide, 2)
        xy = s.op("Mul", s.op("Add", xy, s.constant(grid)), s.constant(float(stride)))
        wh = s.op("Mul", wh, s.constant(3.0 * stride * np.arange(1, 4).reshape(1, 3, 1, 1, 1)))
        levels.append(s.reshape(s.op("Concat", xy, wh, rest, axis=4), 1, 3 * high * wide, 5 + CLASSES))
    s.op("Concat", *levels, axis=1, name="output0")
    s.output("output0", (1, 3 * cells(size, 8, 16, 32), 5 + CLASSES))
    names = {0: "person", 1: "car (red)", 2: "it's"}
    return s.model(17, {"names": str(names), "stride": "32", "task": "detect"})


def yolov8(size: tuple[int, int] = SIZE, batch: int = 1) -> onnx.ModelProto:
    """``(1, 4 + C, N)``: decoded boxes, then chances."""
    s = Sketch(8)
    image = s.input("images", (batch, 3, *size))
    levels = [s.reshape(s.conv(image, 3, 4 + CLASSES, stride, 3.0), batch, 4 + CLASSES, -1) for stride in (8, 16, 32)]
    anchors = 2 * s.random.randn(1, 4 + CLASSES, cells(size, 8, 16, 32))
    raw = s.op("Sigmoid", s.op("Add", s.op("Concat", *levels, axis=2), s.constant(anchors)))
    box, chances = s.op("Split", raw, s.constant([4, CLASSES], "int64"), count=2, axis=1)
    box = s.op("Mul", box, s.constant(np.array([size[1], size[0], 40, 40]).reshape(1, 4, 1)))
    s.op("Concat", box, chances, axis=1, name="output0")
    s.output("output0", (batch, 4 + CLASSES, cells(size, 8, 16, 32)))
    return s.model(17, {"names": "{0: 'person', 1: 'car', 2: 'dog'}", "task": "detect"})


def _decoded(s: Sketch, image: str, size: tuple[int, int]) -> tuple[str, str]:
    """(boxes xyxy in pixels ``(1, N, 4)``, chances ``(1, C, N)``)."""
    raw = s.op("Sigmoid", s.reshape(s.conv(image, 3, 4 + CLASSES, 8, 3.0), 1, 4 + CLASSES, -1))
    box, chances = s.op("Split", raw, s.constant([4, CLASSES], "int64"), count=2, axis=1)
    low, side = s.op("Split", box, s.constant([2, 2], "int64"), count=2, axis=1)
    low = s.op("Mul", low, s.constant(np.array([size[1], size[0]]).reshape(1, 2, 1)))
    both = s.op("Concat", low, s.op("Add", low, s.op("Mul", side, s.constant(30.0))), axis=1)
    return s.op("Transpose", both, perm=[0, 2, 1]), chances


def _chosen(s: Sketch, boxes: str, chances: str, most: int = 5) -> tuple[str, str, str]:
    """What the model's own suppression leaves: boxes ``(D, 4)``, scores ``(D,)``, labels ``(D,)`` int64."""
    options = [s.constant([most], "int64"), s.constant([0.5]), s.constant([0.3])]
    chosen = s.op("NonMaxSuppression", boxes, chances, *options)
    where, label, box = s.op("Split", chosen, s.constant([1, 1, 1], "int64"), count=3, axis=1)
    scores = s.op("GatherND", chances, s.op("Concat", where, label, box, axis=1))
    flat = s.reshape(box, -1)
    return s.op("Gather", s.reshape(boxes, -1, 4), flat, axis=0), scores, s.reshape(label, -1)


def suppressed(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """Boxes, scores and labels after the model's own NonMaxSuppression, as many as there are."""
    s = Sketch(9)
    boxes, scores, labels = _chosen(s, *_decoded(s, s.input("image", (1, 3, *size)), size))
    for name, value in (("dets", boxes), ("conf", scores), ("class_ids", labels)):
        s.op("Identity", value, name=name)
    s.output("dets", ("D", 4))
    s.output("conf", ("D",))
    s.output("class_ids", ("D",), "int64")
    return s.model()


def suppressed_rows(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """``(1, D, 6)``: corners, score, label."""
    s = Sketch(10)
    boxes, scores, labels = _chosen(s, *_decoded(s, s.input("images", (1, 3, *size)), size))
    lists = [s.reshape(value, -1, 1) for value in (scores, s.op("Cast", labels, to=TensorProto.FLOAT))]
    s.reshape(s.op("Concat", boxes, *lists, axis=1), 1, -1, 6, name="output0")
    s.output("output0", (1, "D", 6))
    return s.model()


def suppressed_tensorflow(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """TensorFlow's four outputs: a uint8 picture with channels last, yxyx in 0..1, labels from 1, a count, padding."""
    s = Sketch(11)
    image = s.op("Cast", s.input("input_tensor", (1, *size, 3), "uint8"), to=TensorProto.FLOAT)
    image = s.op("Mul", image, s.constant(1 / 255))
    boxes, scores, labels = _chosen(s, *_decoded(s, s.op("Transpose", image, perm=[0, 3, 1, 2]), size), most=4)
    boxes = s.op("Gather", boxes, s.constant([1, 0, 3, 2], "int64"), axis=1)
    boxes = s.op("Div", boxes, s.constant([[size[0], size[1], size[0], size[1]]]))
    count = s.op("Shape", scores)
    ends = [s.op("Sub", s.constant([30], "int64"), count), s.constant([0], "int64")]
    after = s.op("Concat", ends[1], ends[0], axis=0)
    wide = s.op("Concat", ends[1], ends[1], ends[0], ends[1], axis=0)
    labels = s.op("Cast", s.op("Add", labels, s.constant(1, "int64")), to=TensorProto.FLOAT)
    # What stands behind the count must not be read.
    s.reshape(s.op("Pad", boxes, wide), 1, 30, 4, name="detection_boxes")
    s.reshape(s.op("Pad", scores, after, s.constant(0.99)), 1, 30, name="detection_scores")
    s.reshape(s.op("Pad", labels, after, s.constant(1.0)), 1, 30, name="detection_classes")
    s.op("Cast", count, to=TensorProto.FLOAT, name="num_detections")
    s.output("detection_boxes", (1, 30, 4))
    s.output("detection_classes", (1, 30))
    s.output("detection_scores", (1, 30))
    s.output("num_detections", (1,))
    return s.model()


def ssd(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """Softmax over background and classes, boxes in 0..1."""
    s = Sketch(12)
    image = s.input("input", (1, 3, *size))
    boxes, _ = _decoded(s, image, size)
    raw = s.op("Transpose", s.reshape(s.conv(image, 3, CLASSES + 1, 8, 4.0), 1, CLASSES + 1, -1), perm=[0, 2, 1])
    s.op("Softmax", raw, axis=2, name="scores")
    s.op("Div", boxes, s.constant([size[1], size[0]] * 2), name="boxes")
    s.output("scores", (1, cells(size, 8), CLASSES + 1))
    s.output("boxes", (1, cells(size, 8), 4))
    return s.model()


def boxes_and_chances(size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """Decoded boxes in pixels, chances by class before anchors: what post-processing takes that was left out."""
    s = Sketch(13)
    boxes, chances = _decoded(s, s.input("image", (1, 3, *size)), size)
    s.op("Identity", boxes, name="bboxes")
    s.op("Identity", chances, name="scores")
    s.output("bboxes", (1, cells(size, 8), 4))
    s.output("scores", (1, CLASSES, cells(size, 8)))
    return s.model()


GRAPHS: Mapping[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "yolox": (yolox, "yolox"),
    "picodet": (picodet, "picodet"),
    "nanodet": (nanodet, "nanodet-plus"),
    "detr_final": (detr_final, "detr"),
    "detr_logits": (detr_logits, "detr"),
    "detr_rows": (detr_rows, "detr"),
    "yolov5": (yolov5, "yolov5"),
    "yolov8": (yolov8, "yolov8"),
    "suppressed": (suppressed, "suppressed"),
    "suppressed_rows": (suppressed_rows, "suppressed"),
    "suppressed_tensorflow": (suppressed_tensorflow, "suppressed"),
    "ssd": (ssd, "ssd"),
}
"""Name -> (what makes the graph, its family)."""


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with inputs and outputs that are called x0, x1, ... and y0, y1, ..."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    stored = {tensor.name for tensor in graph.initializer}
    names = {info.name: f"x{index}" for index, info in enumerate(i for i in graph.input if i.name not in stored)}
    names |= {info.name: f"y{index}" for index, info in enumerate(graph.output)}
    for info in (*graph.input, *graph.output):
        info.name = names.get(info.name, info.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return changed
