"""The R-FCN head in standard operators: proposals, position-sensitive pooling, detections."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import torch

from lsts_edge.errors import ExportError
from lsts_edge.export.bin_sums import BinSums
from lsts_edge.export.graph import Builder, pieces
from lsts_edge.export.map_sizes import FixedMap, OpenMap
from lsts_edge.export.shapes import Shape, largest_map, sizes_of
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.rfcn import RfcnHead

__all__ = ["head_graph"]

_PRODUCT_FLOATS = 4 << 20  # largest product of row masks and maps, 16 MB
_MOVE = 6  # multiply-adds for one float read or written: set so that both presets get what was measured as faster
_MOVES = 17  # floats read and written for each float of BinSums' result: four look-ups, three differences


def head_graph(network: VideoNetwork, task_shape: Shape) -> onnx.ModelProto:
    """``task -> boxes, scores, labels``, final: suppressed, sorted by score, at most ``max_detections``.

    Every rule is that of ``RfcnHead``. Pooling sums the maps by row and column masks, or the feature by ``BinSums``,
    never by integral images, which in float32 would lose the small values beside a large mean; its bin edges are
    worked out in whole numbers, so engines that turn a division into a multiplication still agree.

    Args:
        network: with any head of that class.
        task_shape: ``(1, C, h, w)``; with names for h and w the graph takes every size.

    Raises:
        ExportError: if the head is not ``RfcnHead``.
    """
    head = network.head
    if not isinstance(head, RfcnHead):
        raise ExportError(
            f"head {type(head).__name__}",
            got="no way to write it in ONNX",
            expected="RfcnHead",
            fix="Write its graph with lsts_edge.export.graph.Builder, as head_graph does.",
        )
    size = network.preset.input
    graph = Builder("head")
    task = graph.input("task", task_shape)
    grid: FixedMap | OpenMap
    if any(isinstance(side, str) for side in task_shape):
        usual = (size.image_px[0] // head.stride, size.image_px[1] // head.stride)
        grid = OpenMap(graph, task, head.stride, usual, largest_map(network.preset))
    else:
        height, width = sizes_of(task_shape[2:])
        grid = FixedMap(graph, height, width, head.stride, (size.height_px, size.width_px))
    return _Head(head, graph, task, int(task_shape[1]), grid).build()


class _Head:
    """Writes the head.

    Args:
        head: its weights and rules.
        graph: where the nodes go.
        task: the task feature, ``(1, channels, h, w)``.
        channels: of it.
        grid: what depends on h and w.
    """

    def __init__(self, head: RfcnHead, graph: Builder, task: ir.Value, channels: int, grid: FixedMap | OpenMap) -> None:
        self.head, self.preset, self.stride = head, head.preset, head.stride
        self.graph, self.task, self.task_channels, self.grid = graph, task, channels, grid
        self.limits = grid.limits()

    def build(self) -> onnx.ModelProto:
        rois = self.proposals()
        logits, deltas = self.votes(rois)
        boxes = self.decoded(rois, deltas, self.preset.box_std)
        found = self.detections(boxes, logits)
        shapes = {"boxes": (("D", 4), "float32"), "scores": (("D",), "float32"), "labels": (("D",), "int64")}
        return self.graph.build({name: (value, *shapes[name]) for name, value in zip(shapes, found, strict=True)})

    def channels(self, first: int, count: int) -> ir.Value:
        """Channels ``first`` to ``first + count`` of the task feature."""
        if count == self.task_channels:
            return self.task
        return self.graph.slice(self.task, (first,), (first + count,), (1,))

    def proposals(self) -> ir.Value:
        """``(R, 4)`` boxes that may hold an object, best first."""
        graph, preset, head = self.graph, self.preset, self.head
        kinds = preset.anchors_per_cell
        weight = np.concatenate((_array(head.rpn_score.weight), _array(head.rpn_box.weight)))
        bias = np.concatenate((_array(head.rpn_score.bias), _array(head.rpn_box.bias)))
        feature = self.channels(0, preset.rpn_channels)
        both = graph.op("Conv", feature, graph.constant(weight), graph.constant(bias))
        background, objects, deltas = graph.split(both, (kinds, kinds, 4 * kinds), 1)
        margins = graph.op("Sub", objects, background)
        scores = graph.reshape(graph.op("Transpose", margins, perm=(0, 2, 3, 1)), self.grid.times(kinds))
        deltas = graph.reshape(graph.op("Transpose", deltas, perm=(0, 2, 3, 1)), self.grid.times(kinds), 4)
        kept, count = self.grid.at_most(preset.rpn_pre_nms, kinds, scores)
        scores, order = self.top(scores, count)
        anchors = graph.op("Gather", self.grid.anchors(_array(head.anchors)), order, axis=0)
        boxes = self.decoded(anchors, graph.op("Gather", deltas, order, axis=0), preset.rpn_box_std)
        chosen = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", self.inclusive(boxes), graph.ints(0)),
            graph.reshape(scores, 1, 1, kept),
            graph.constant([preset.rpn_post_nms], "int64"),
            graph.constant([preset.rpn_nms_iou]),
        )
        index = graph.op("Squeeze", graph.slice(chosen, (2,), (3,), (1,)), graph.ints(1))
        return graph.op("Gather", boxes, index, axis=0)

    def decoded(self, boxes: ir.Value, deltas: ir.Value, std: tuple[float, ...]) -> ir.Value:
        """Boxes moved by deltas and clipped to the image; widths are inclusive."""
        graph = self.graph
        low, high = graph.split(boxes, (2, 2), 1)
        shift, growth = graph.split(graph.op("Mul", deltas, graph.constant([std])), (2, 2), 1)
        size = graph.op("Add", graph.op("Sub", high, low), 1.0)
        middle = graph.op("Add", low, graph.op("Mul", graph.op("Sub", size, 1.0), 0.5))
        middle = graph.op("Add", middle, graph.op("Mul", shift, size))
        half = graph.op("Mul", graph.op("Sub", graph.op("Mul", size, graph.op("Exp", growth)), 1.0), 0.5)
        moved = graph.op("Concat", graph.op("Sub", middle, half), graph.op("Add", middle, half), axis=1)
        return graph.op("Min", graph.op("Max", moved, 0.0), self.limits)

    def inclusive(self, boxes: ir.Value) -> ir.Value:
        """Corners as NonMaxSuppression counts them: its ``x2 - x1`` is our ``x2 - x1 + 1``."""
        return self.graph.op("Add", boxes, self.graph.constant([[0.0, 0.0, 1.0, 1.0]]))

    def top(self, scores: ir.Value, count: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The best ``count`` of a one-axis array and where they were; among equals the first wins."""
        values, index = self.graph.op_pair("TopK", scores, count, axis=0, largest=1, sorted=1)
        return values, index

    def votes(self, rois: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Mean over the bins of the position-sensitive averages: class logits ``(R, classes + 1)``, deltas ``(R, 4)``.

        ``vote[r, d] = sum_ij weight[d, i, j] @ mean[r, i, j] + bias[d, i, j]``, the mean being that of the feature's
        cells in the bin. The sums may be taken in either order: of the feature, or of the maps ``weight @ feature``.
        """
        preset, head = self.preset, self.head
        bins, classes = preset.bins, len(preset.classes) + 1
        # Class-agnostic boxes: background's four come first and are not used.
        used = slice(4 * bins * bins, 8 * bins * bins)
        weight = np.concatenate((_array(head.class_maps.weight), _array(head.box_maps.weight)[used]))
        bias = np.concatenate((_array(head.class_maps.bias), _array(head.box_maps.bias)[used]))
        weight = weight.reshape(-1, bins, bins, preset.rfcn_channels) / (bins * bins)
        bias = bias.reshape(-1, bins, bins) / (bins * bins)
        pool = self.pooled_features if self.sums_features() else self.pooled_maps
        logits, deltas = self.graph.split(pool(*self.edges(rois), weight, bias), (classes, 4), 1)
        return logits, deltas

    def sums_features(self) -> bool:
        """Whether summing the feature is faster than making all maps and summing those: by counting, see ``_MOVE``."""
        preset = self.preset
        bins, rois, channels, depth = preset.bins, preset.rpn_post_nms, preset.rfcn_channels, len(preset.classes) + 5
        maps = depth * bins * bins * self.grid.height * self.grid.width
        sums = rois * bins * bins * channels
        return sums * (depth + _MOVES * _MOVE) < maps * (channels + rois)

    def pooled_features(self, first: ir.Value, end: ir.Value, weight: np.ndarray, bias: np.ndarray) -> ir.Value:
        """``votes`` with the feature summed first: worth it for wide heads, whose many maps are then never made."""
        preset, channels = self.preset, self.preset.rfcn_channels
        feature = self.channels(self.task_channels - channels, channels)
        sums = BinSums(self.graph, feature, (1, channels, *self.grid.most_cells), preset.bins, self.grid.sides)
        return sums.votes(first, end, weight.transpose(1, 2, 3, 0), bias.transpose(1, 2, 0), preset.rpn_post_nms)

    def pooled_maps(self, first: ir.Value, end: ir.Value, weight: np.ndarray, bias: np.ndarray) -> ir.Value:
        """``votes`` with the maps made first.

        ``vote[r, d] = sum_ij sum_yx rows[r, i, y] columns[r, j, x] map[d, i, j, y, x]``, where a mask's entries are
        one over the bin's height or width. The sum over rows is one matrix product per bin row.
        """
        graph, preset, bins, depth = self.graph, self.preset, self.preset.bins, len(bias)
        maps = self.position_sensitive_maps(weight, bias)  # (bins, H, depth * bins * W), row bins first
        rows = self.mask(first, end, 1)  # (bins, R, H)
        columns = graph.op("Transpose", self.mask(first, end, 0), perm=(1, 0, 2))
        columns = self.grid.reshape_wide(columns, -1, bins, 1, place=1)
        # Row bins at a time: all of them while the product stays small, which is when a node's overhead counts.
        product = preset.rpn_post_nms * depth * bins * self.grid.most_cells[1]
        parts = pieces(bins, _PRODUCT_FLOATS // product)
        total: ir.Value | None = None
        for row, plane in zip(graph.split(rows, parts, 0), graph.split(maps, parts, 0), strict=True):
            summed = graph.op("MatMul", row, plane)  # (step, R, depth * bins * W)
            summed = self.grid.reshape_wide(summed, 0, -1, depth, bins, place=3)
            summed = graph.op(
                "ReduceSum", graph.op("MatMul", summed, columns), graph.ints(0, 3), keepdims=0
            )  # (R, depth)
            total = summed if total is None else graph.op("Add", total, summed)
        assert total is not None
        return total

    def position_sensitive_maps(self, weight: np.ndarray, bias: np.ndarray) -> ir.Value:
        """Class maps and the object's box maps as ``pooled_maps`` multiplies them, ``(bins, H, depth * bins * W)``."""
        graph, bins, depth, channels = self.graph, self.preset.bins, len(bias), self.preset.rfcn_channels
        feature = self.channels(self.task_channels - channels, channels)
        weight = weight.transpose(1, 0, 2, 3).reshape(-1, channels, 1, 1)  # row bins first
        bias = bias.transpose(1, 0, 2).ravel()
        maps = graph.op("Conv", feature, graph.constant(weight), graph.constant(bias))
        maps = graph.reshape(maps, bins, depth * bins, *self.grid.kept_sides)
        maps = graph.op("Transpose", maps, perm=(0, 2, 1, 3))
        return graph.reshape(maps, bins, self.grid.kept_sides[0], self.grid.row_of(depth * bins))

    def edges(self, rois: ir.Value) -> tuple[ir.Value, ir.Value]:
        """First and one-past-last cell of each bin, ``(bins, R, 2)`` each, x before y, clipped to the map.

        Caffe's rule: corners rounded half up in pixels, the last pixel counts whole, sides at least 0.1 cell, a bin
        reaches from the first to the last cell it touches. In units of ``1 / (10 bins stride)`` cell all of it is
        whole numbers below 2^24, exact in float32; the half keeps a division that is off by a rounding from
        crossing to the next cell.
        """
        graph, bins, stride = self.graph, self.preset.bins, self.stride
        low, high = graph.split(graph.op("Floor", graph.op("Add", rois, 0.5)), (2, 2), 1)  # pixels
        length = graph.op("Add", graph.op("Sub", high, low), 1.0)
        side = graph.op("Max", graph.op("Mul", length, 10.0), float(stride))
        begin = graph.op("Mul", low, 10.0 * bins)
        unit = 10.0 * bins * stride
        index = np.arange(bins, dtype=np.float32).reshape(bins, 1, 1)
        limit = self.grid.cells()

        def edge(bin_index: np.ndarray, rounding: float) -> ir.Value:
            place = graph.op("Add", graph.op("Mul", side, graph.constant(bin_index)), begin)
            cell = graph.op("Floor", graph.op("Div", graph.op("Add", place, rounding), unit))
            # Not Max: a corner that is no number must not become an index, and compares false.
            cell = graph.op("Where", graph.op("Greater", cell, 0.0), cell, 0.0)
            return graph.op("Min", cell, limit)

        return edge(index, 0.5), edge(index + 1, unit - 0.5)

    def mask(self, first: ir.Value, end: ir.Value, axis: int) -> ir.Value:
        """``(bins, R, cells)`` for x (0) or y (1): one over the number of a bin's cells in them, zero elsewhere."""
        graph = self.graph
        first, end = (graph.slice(edge, (axis,), (axis + 1,), (2,)) for edge in (first, end))
        cell = self.grid.index(axis)
        inside = graph.op("And", graph.op("LessOrEqual", first, cell), graph.op("Less", cell, end))
        count = graph.op("Max", graph.op("Sub", end, first), 1.0)
        return graph.op("Div", graph.op("Cast", inside, to=int(ir.DataType.FLOAT)), count)

    def detections(self, boxes: ir.Value, logits: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Suppression per class above the score floor, then the best of all classes."""
        graph, preset = self.graph, self.preset
        chances = graph.slice(graph.op("Softmax", logits, axis=1), (1,), (len(preset.classes) + 1,), (1,))
        by_class = graph.op("Transpose", chances, perm=(1, 0))  # (classes, R)
        if len(preset.classes) * preset.rpn_post_nms > preset.max_candidates:
            by_class = self.best_candidates(by_class)
        chosen = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", self.inclusive(boxes), graph.ints(0)),
            graph.op("Unsqueeze", by_class, graph.ints(0)),
            graph.constant([preset.max_detections], "int64"),
            graph.constant([preset.nms_iou]),
            graph.constant([preset.score_floor]),
        )
        scores = graph.op("GatherND", by_class, graph.slice(chosen, (1,), (3,), (1,)))
        count = graph.slice(graph.op("Shape", chosen), (0,), (1,), (0,))
        scores, order = self.top(scores, graph.op("Min", count, graph.ints(preset.max_detections)))
        best = graph.op("Gather", chosen, order, axis=0)
        _, label, roi = graph.split(best, (1, 1, 1), 1)
        boxes = graph.op("Gather", boxes, graph.op("Squeeze", roi, graph.ints(1)), axis=0)
        return boxes, scores, graph.op("Squeeze", label, graph.ints(1))

    def best_candidates(self, by_class: ir.Value) -> ir.Value:
        """Scores ``(classes, R)`` with zero, which is no score above a floor, where they are not among the best."""
        graph = self.graph
        flat = graph.reshape(by_class, -1)
        best, _ = self.top(flat, graph.op("Min", graph.op("Shape", flat), graph.ints(self.preset.max_candidates)))
        least = graph.slice(best, (-1,), (np.iinfo(np.int64).max,), (0,))
        return graph.op("Where", graph.op("GreaterOrEqual", by_class, least), by_class, 0.0)


def _array(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return np.asarray(tensor.detach().cpu().float().numpy())
