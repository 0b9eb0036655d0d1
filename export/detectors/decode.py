"""Nodes that turn a detector's outputs into boxes in network pixels with one score and one label each, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.export.detectors.nodes import Nodes
from lsts_edge.export.detectors.spec import DetectorSpec, cell_grid

__all__ = ["DetectionValues", "Reading", "add_decoding"]

DetectionValues = tuple[Any, Any, Any]
"""boxes ``(K, 4)`` xyxy, scores ``(K,)`` falling, 0 where there is none, and labels ``(K,)`` int64."""


@dataclass(frozen=True)
class Reading:
    """How a detector's outputs are read.

    Attributes:
        spec: of the detector.
        height_px: of the network's picture.
        width_px: likewise.
        class_count: labels from there on are dropped.
        score_floor: boxes must score more.
        candidates: most boxes that go on.
    """

    spec: DetectorSpec
    height_px: int
    width_px: int
    class_count: int
    score_floor: float
    candidates: int


def add_decoding(nodes: Nodes, reading: Reading, outputs: Mapping[str, Any]) -> DetectionValues:
    """Decode; a box has the class it scores best in.

    The best ``candidates`` are chosen by score before anything else is worked out for them.

    Args:
        nodes: where nodes are added.
        reading: what to do.
        outputs: the network's output tensors, with shapes where these are known.
    """
    spec = reading.spec
    dense = "classes" in spec.columns or not (spec.columns or spec.outputs.get("labels"))
    return _dense(nodes, reading, outputs) if dense else _final(nodes, reading, outputs)


def _dense(nodes: Nodes, reading: Reading, outputs: Mapping[str, Any]) -> DetectionValues:
    """Boxes with a score for each class."""
    spec, classes = reading.spec, reading.class_count
    background = int(spec.background != "none")
    rows: list[Any]
    if spec.columns:
        width = {"box": spec.box_numbers, "classes": classes + background}
        widths = [width.get(column, 1) for column in spec.columns]
        ends = np.cumsum(widths).tolist()
        place = {c: (end - size, end) for c, end, size in zip(spec.columns, ends, widths, strict=True)}
        rows = [_table(nodes, spec, outputs, spec.outputs["rows"], ends[-1], spec.transposed)]
        scores = nodes.slice(rows[0], *place["classes"], 1)
    else:
        place = {"box": (0, spec.box_numbers)}
        boxes = _table(nodes, spec, outputs, spec.outputs["boxes"], spec.box_numbers, False)
        scores = _table(nodes, spec, outputs, spec.outputs["scores"], classes + background, spec.transposed)
        rows = [boxes, scores]
    if spec.score_form == "softmax":
        scores = nodes.op("Softmax", scores, axis=1)
    if background:
        first = int(spec.background == "first")
        scores = nodes.slice(scores, first, first + classes, 1)
    best = nodes.max_of_rows(scores)
    if "objectness" in place:
        objectness = nodes.reshape(nodes.slice(rows[0], *place["objectness"], 1), -1)
        best, objectness = (_sigmoid(nodes, spec, value) for value in (best, objectness))
        best = nodes.op("Mul", best, objectness)
    else:
        best = _sigmoid(nodes, spec, best)
    best, order = nodes.top(_above(nodes, best, reading.score_floor), _most(nodes, best, reading, rows[0]))
    chosen = nodes.op("Gather", rows[0], order, axis=0)
    wide = chosen if spec.columns else nodes.op("Gather", scores, order, axis=0)
    if spec.columns:
        start, end = place["classes"]
        wide = nodes.slice(wide, start + int(spec.background == "first"), end - int(spec.background == "last"), 1)
        chosen = nodes.slice(chosen, *place["box"], 1)
    labels = nodes.op("ArgMax", wide, axis=1, keepdims=0)
    return _corners(nodes, reading, chosen, order), best, labels


def _final(nodes: Nodes, reading: Reading, outputs: Mapping[str, Any]) -> DetectionValues:
    """Boxes that have a score and a label already."""
    spec = reading.spec
    if spec.columns:
        widths = [4 if column == "box" else 1 for column in spec.columns]
        table = _table(nodes, spec, outputs, spec.outputs["rows"], sum(widths), spec.transposed)
        ends = np.cumsum(widths).tolist()
        place = {c: (end - size, end) for c, end, size in zip(spec.columns, ends, widths, strict=True)}
        boxes = nodes.slice(table, *place["box"], 1)
        scores, labels = (nodes.reshape(nodes.slice(table, *place[name], 1), -1) for name in ("score", "label"))
    else:
        boxes = _table(nodes, spec, outputs, spec.outputs["boxes"], 4, False)
        scores, labels = (
            nodes.concat([nodes.reshape(outputs[name], -1) for name in names], 0)
            for names in (spec.outputs["scores"], spec.outputs["labels"])
        )
        scores = _sigmoid(nodes, spec, _float(nodes, scores))
    labels = nodes.cast(labels, "int64")
    if spec.label_base:
        labels = nodes.op("Sub", labels, nodes.constant(spec.label_base, "int64"))
    valid = nodes.op("And", nodes.op("Greater", labels, nodes.constant(-1, "int64")),
                     nodes.op("Less", labels, nodes.constant(reading.class_count, "int64")))  # fmt: skip
    if spec.outputs.get("count"):
        count = nodes.cast(nodes.reshape(outputs[spec.outputs["count"][0]], -1), "int64")
        ones = nodes.op("Add", nodes.op("Mul", labels, nodes.constant(0, "int64")), nodes.constant(1, "int64"))
        rank = nodes.op("CumSum", ones, nodes.constant(0, "int64"))
        valid = nodes.op("And", valid, nodes.op("LessOrEqual", rank, count))
    scores = nodes.op("Where", valid, scores, 0.0)
    best, order = nodes.top(_above(nodes, scores, reading.score_floor), _most(nodes, scores, reading, boxes))
    boxes = nodes.op("Gather", boxes, order, axis=0)
    return _corners(nodes, reading, boxes, order), best, nodes.op("Gather", labels, order, axis=0)


def _table(
    nodes: Nodes, spec: DetectorSpec, outputs: Mapping[str, Any], names: tuple[str, ...], width: int, transposed: bool
) -> Any:
    """``(N, width)`` float32 of one or several outputs; its shape is noted where it is known."""
    parts, rows = [], 0
    for name in names:
        tensor = outputs[name]
        shape = tuple(tensor.shape or ())
        fixed = len(shape) > 1 and all(isinstance(size, int) and size > 0 for size in shape)
        rows = rows + int(np.prod(shape)) // width if fixed and rows >= 0 else -1
        tensor = _float(nodes, tensor)
        if transposed:
            parts.append(nodes.op("Transpose", nodes.reshape(tensor, width, -1), perm=[1, 0]))
        else:
            parts.append(nodes.reshape(tensor, -1, width))
    joined = nodes.concat(parts, 0)
    joined.shape = (rows if rows > 0 else "N", width)
    return joined


def _float(nodes: Nodes, tensor: Any) -> Any:
    return tensor if tensor.dtype in (None, np.float32) else nodes.cast(tensor, "float32")


def _sigmoid(nodes: Nodes, spec: DetectorSpec, values: Any) -> Any:
    return nodes.op("Sigmoid", values) if spec.score_form == "sigmoid" else values


def _above(nodes: Nodes, scores: Any, floor: float) -> Any:
    """Scores, 0 where they are not above the floor or no number."""
    return nodes.op("Where", nodes.op("Greater", scores, floor), scores, 0.0)


def _most(nodes: Nodes, scores: Any, reading: Reading, table: Any) -> Any:
    rows = table.shape[0] if table.shape else None
    if isinstance(rows, int):
        return nodes.ints(min(rows, reading.candidates))
    return nodes.op("Min", nodes.op("Shape", scores), nodes.ints(reading.candidates))


def _corners(nodes: Nodes, reading: Reading, numbers: Any, order: Any) -> Any:
    """``(K, 4)`` xyxy in network pixels of the rows in ``order``."""
    spec = reading.spec
    if spec.box_form in ("cells", "distances"):
        cells, strides = cell_grid(reading.height_px, reading.width_px, spec.strides)
        points = nodes.op("Gather", nodes.constant((cells + np.float32(spec.cell_offset)) * strides), order, axis=0)
        stride = nodes.op("Gather", nodes.constant(strides), order, axis=0)
        if spec.box_form == "cells":
            scaled = nodes.op("Mul", nodes.slice(numbers, 0, 2, 1), stride)
            half = nodes.op("Mul", nodes.op("Exp", nodes.slice(numbers, 2, 4, 1)), nodes.op("Mul", stride, 0.5))
            return _around(nodes, nodes.op("Add", scaled, points), half)
        # Rows of bins under each other: a product of two plain matrices, which engines have a fast kernel for.
        chances = nodes.op("Softmax", nodes.reshape(numbers, -1, spec.bins), axis=1)
        mean = nodes.op("MatMul", chances, nodes.constant(np.arange(spec.bins)[:, None]))
        mean = nodes.reshape(mean, -1, 4)
        sides = nodes.op("Mul", mean, stride)
        low = nodes.op("Sub", points, nodes.slice(sides, 0, 2, 1))
        return nodes.op("Concat", low, nodes.op("Add", points, nodes.slice(sides, 2, 4, 1)), axis=1)
    if spec.box_unit == "normalised":
        wide, high = float(reading.width_px), float(reading.height_px)
        unit = [high, wide, high, wide] if spec.box_form == "yxyx" else [wide, high, wide, high]
        numbers = nodes.op("Mul", numbers, nodes.constant([unit]))
    if spec.box_form == "yxyx":
        return nodes.op("Gather", numbers, nodes.ints(1, 0, 3, 2), axis=1)
    if spec.box_form == "cxcywh":
        half = nodes.op("Mul", nodes.slice(numbers, 2, 4, 1), 0.5)
        return _around(nodes, nodes.slice(numbers, 0, 2, 1), half)
    return numbers


def _around(nodes: Nodes, middle: Any, half: Any) -> Any:
    return nodes.op("Concat", nodes.op("Sub", middle, half), nodes.op("Add", middle, half), axis=1)
