"""What the head's graph knows of the size of its map: constants, or values read from the feature at run time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from lsts_edge.export.graph import Builder

__all__ = ["FixedMap", "OpenMap"]


class FixedMap:
    """A map of ``height`` x ``width`` cells.

    Args:
        graph: where the constants go.
        height: cells.
        width: cells.
        stride: pixels of a cell.
        image_px: height and width of the image.
    """

    def __init__(self, graph: Builder, height: int, width: int, stride: int, image_px: tuple[int, int]) -> None:
        self._graph, self._stride, self._image_px = graph, stride, image_px
        self.height, self.width = height, width
        self.most_cells = (height, width)
        self.kept_sides = (height, width)
        self.sides = None

    def limits(self) -> ir.Value:
        """``(1, 4)``: where boxes end, both corners."""
        height, width = self._image_px
        last = (width - 1.0, height - 1.0)
        return self._graph.constant([last + last])

    def times(self, count: int) -> int:
        """The number of cells times ``count``, for a reshape."""
        return self.height * self.width * count

    def row_of(self, count: int) -> int:
        """``count`` times the width, for a reshape."""
        return count * self.width

    def at_most(self, most: int, kinds: int, scores: ir.Value) -> tuple[int, ir.Value]:
        """How many of ``kinds`` scores a cell are kept: for a reshape, and as a value."""
        kept = min(most, self.times(kinds))
        return kept, self._graph.ints(kept)

    def anchors(self, of_a_cell: np.ndarray) -> ir.Value:
        """``(H * W * A, 4)``, cell by cell, anchor by anchor."""
        y, x = np.meshgrid(np.arange(self.height), np.arange(self.width), indexing="ij")
        shifts = np.stack((x, y, x, y), axis=-1).astype(np.float32) * self._stride
        return self._graph.constant(np.reshape(shifts[:, :, None, :] + of_a_cell, (-1, 4)))

    def cells(self) -> ir.Value:
        """Width and height."""
        return self._graph.constant([float(self.width), float(self.height)])

    def index(self, axis: int) -> ir.Value:
        """``(1, 1, cells)``: 0, 1, ... along x (0) or y (1)."""
        cells = (self.width, self.height)[axis]
        return self._graph.constant(np.arange(cells, dtype=np.float32).reshape(1, 1, cells))

    def reshape_wide(self, value: ir.Value, *shape: int, place: int) -> ir.Value:
        """``value`` in this shape, whose size at ``place`` is times the width."""
        sizes = [size * self.width if index == place else size for index, size in enumerate(shape)]
        return self._graph.reshape(value, *sizes)


class OpenMap:
    """A map whose size is that of the feature. Its image is whole cells.

    Args:
        graph: where the nodes go.
        feature: ``(1, C, H, W)``.
        stride: pixels of a cell.
        usual_cells: H and W of a usual image, to choose between ways of the same result.
        most_cells: the most that H and W may be.
    """

    kept_sides = (0, 0)  # a reshape keeps them

    def __init__(
        self, graph: Builder, feature: ir.Value, stride: int, usual_cells: tuple[int, int], most_cells: tuple[int, int]
    ) -> None:
        self._graph, self._stride = graph, stride
        self.height, self.width = usual_cells
        self.most_cells = most_cells
        shape = graph.op("Shape", feature)
        width, height = (graph.slice(shape, (axis,), (axis + 1,), (0,)) for axis in (3, 2))
        self.sides = (width, height)

    def limits(self) -> ir.Value:
        """``(1, 4)``: where boxes end, both corners."""
        graph = self._graph
        last = graph.op("Sub", graph.op("Mul", self.cells(), float(self._stride)), 1.0)
        return graph.op("Unsqueeze", graph.op("Concat", last, last, axis=0), graph.ints(0))

    def times(self, count: int) -> int:
        """The number of cells times ``count``, for a reshape: whatever is left."""
        return -1

    def row_of(self, count: int) -> int:
        """``count`` times the width, for a reshape: whatever is left."""
        return -1

    def at_most(self, most: int, kinds: int, scores: ir.Value) -> tuple[int, ir.Value]:
        """How many of ``scores`` are kept: for a reshape, and as a value."""
        return -1, self._graph.op("Min", self._graph.op("Shape", scores), self._graph.ints(most))

    def anchors(self, of_a_cell: np.ndarray) -> ir.Value:
        """``(H * W * A, 4)``, cell by cell, anchor by anchor."""
        graph = self._graph
        places = []
        for axis, shape in ((0, (1, -1, 1, 1)), (1, (-1, 1, 1, 1))):
            along = np.array([1 - axis, axis] * 2, np.float32) * self._stride
            cell = graph.reshape(self.index(axis), *shape)
            places.append(graph.op("Mul", cell, graph.constant(along.reshape(1, 1, 1, 4))))
        shifts = graph.op("Add", *places)
        return graph.reshape(graph.op("Add", shifts, graph.constant(of_a_cell.reshape(1, 1, -1, 4))), -1, 4)

    def cells(self) -> ir.Value:
        """Width and height."""
        graph = self._graph
        return graph.op("Cast", graph.op("Concat", *self.sides, axis=0), to=int(ir.DataType.FLOAT))

    def index(self, axis: int) -> ir.Value:
        """``(1, 1, cells)``: 0, 1, ... along x (0) or y (1)."""
        graph = self._graph
        end = graph.op("Squeeze", self.sides[axis], graph.ints(0))
        cells = graph.op("Range", graph.constant(0, "int64"), end, graph.constant(1, "int64"))
        return graph.reshape(graph.op("Cast", cells, to=int(ir.DataType.FLOAT)), 1, 1, -1)

    def reshape_wide(self, value: ir.Value, *shape: int, place: int) -> ir.Value:
        """``value`` in this shape, whose size at ``place`` is times the width."""
        graph = self._graph
        wide = graph.op("Mul", self.sides[0], graph.ints(shape[place]))
        parts = [graph.ints(*shape[:place]), wide, *([graph.ints(*shape[place + 1 :])] if shape[place + 1 :] else [])]
        return graph.op("Reshape", value, graph.op("Concat", *parts, axis=0))
