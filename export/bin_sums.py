"""Sums of a feature over the bins of RoIs in standard operators: four look-ups each in a table of partial sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from lsts_edge.export.graph import Builder, pieces

__all__ = ["BinSums", "longest_bin", "prefix_windows"]

_WINDOW_CELLS = 16  # a window's first cells; see prefix_windows
_CHUNK_FLOATS = 3 << 17  # the sums of one chunk, 1.5 MB: several such arrays should stay in the processor's own caches


def longest_bin(cells: int, bins: int) -> int:
    """The most cells a bin of a RoI inside the map can touch: ``cells / bins``, rounded up, and one for its offset."""
    return -(-cells // bins) + 1


def prefix_windows(cells: int, longest: int) -> tuple[np.ndarray, int]:
    """Which cells each partial sum along one axis adds up, ``(sums, cells)`` of 0 and 1, and the step of the windows.

    One integral image over the whole map would subtract two large numbers to find the sum of a few cells. Here the
    sums start again every ``step`` cells, each window long enough for any bin that starts in its first ``step``
    cells, so that float32 keeps what it keeps in a convolution. Cell ``x`` seen from window ``t`` is sum
    ``t * (step + longest) + x - t * step``, that is ``x + t * longest``.
    """
    windows = max(1, round(cells / _WINDOW_CELLS))
    step = -(-cells // windows)
    windows = -(-cells // step)
    start = step * np.arange(windows).reshape(-1, 1, 1)
    length = np.arange(step + longest).reshape(1, -1, 1)
    cell = np.arange(cells)
    inside = (cell >= start) & (cell < start + length)
    return inside.reshape(-1, cells).astype(np.float32), step


class BinSums:
    """Writes the table and the look-ups.

    A table made for one size serves smaller ones: the sums then add fewer cells up.

    Args:
        graph: where the nodes go.
        feature: ``(1, C, H, W)``.
        shape: that shape, or the largest that it may be.
        bins: bins per side of a RoI.
        sides: W and H as values, one number each, where they may be smaller.
    """

    def __init__(
        self,
        graph: Builder,
        feature: ir.Value,
        shape: tuple[int, int, int, int],
        bins: int,
        sides: tuple[ir.Value, ir.Value] | None = None,
    ) -> None:
        self.graph, self.shape, self.bins = graph, shape, bins
        _, channels, height, width = shape
        self.longest = (longest_bin(width, bins), longest_bin(height, bins))  # x before y, as boxes are
        (across, step_x), (down, step_y) = (
            prefix_windows(cells, longest) for cells, longest in zip((width, height), self.longest, strict=True)
        )
        self.steps = (step_x, step_y)
        self.row_length, self.rows = len(across), len(down)
        # Channels last: a look-up is then one run of memory.
        table = graph.op("Transpose", feature, perm=(0, 2, 3, 1))
        columns, rows = graph.constant(across), graph.constant(down)
        if sides is not None:
            width_cells, height_cells = sides
            columns = graph.op("Slice", columns, graph.ints(0), width_cells, graph.ints(1))
            rows = graph.op("Slice", rows, graph.ints(0), height_cells, graph.ints(1))
            height = -1
        table = graph.op("MatMul", columns, table)  # (1, H, X, C)
        table = graph.op("MatMul", rows, graph.reshape(table, height, len(across) * channels))
        self.table = graph.reshape(table, len(down) * len(across), channels)

    def votes(self, first: ir.Value, end: ir.Value, weight: np.ndarray, bias: np.ndarray, rois: int) -> ir.Value:
        """Sum over a RoI's bins of ``weight[bin] @ mean[bin] + bias[bin]``; an empty bin adds neither.

        Args:
            first: ``(bins, R, 2)``, the first cell of each bin, x before y, in 0 .. cells; whole numbers.
            end: one past the last, in 0 .. cells.
            weight: ``(bins y, bins x, C, D)``.
            bias: ``(bins y, bins x, D)``.
            rois: an estimate of R, for the size of the chunks.

        Returns:
            ``(R, D)``.
        """
        graph, bins = self.graph, self.bins
        depth = bias.shape[-1]
        height, width = self.shape[2:]
        length = graph.op("Max", graph.op("Sub", end, first), 0.0)
        # An empty bin past the map looks up the same place four times: any will do.
        first = graph.op("Min", first, graph.constant([width - 1.0, height - 1.0]))
        # The half keeps a division that is off by a rounding from crossing to the next window.
        tile = graph.op("Div", graph.op("Add", first, 0.5), graph.constant([float(step) for step in self.steps]))
        tile = graph.op("Mul", graph.op("Floor", tile), graph.constant([float(cells) for cells in self.longest]))
        place = graph.op("Add", first, tile)
        columns, rows = zip(*(self._places(value) for value in (place, graph.op("Add", place, length))), strict=True)
        product = self._products(rows, columns, weight, rois)  # (bins y, bins x, R, D)
        share = graph.op("Div", 1.0, graph.op("Max", length, 1.0))
        means = graph.op("Mul", product, graph.op("Unsqueeze", self._outer(share), graph.ints(3)))
        filled = graph.reshape(self._outer(graph.op("Min", length, 1.0)), bins * bins, -1)
        total = graph.op("ReduceSum", means, graph.ints(0, 1), keepdims=0)
        return graph.op("Gemm", filled, graph.constant(bias.reshape(bins * bins, depth)), total, transA=1)

    def _products(
        self, rows: Sequence[ir.Value], columns: Sequence[ir.Value], weight: np.ndarray, rois: int
    ) -> ir.Value:
        """``weight[bin] @ sum[bin]``, a few bins at a time: all sums at once would be many times the caches."""
        graph = self.graph
        one = rois * self.shape[1]  # floats of one bin of every RoI
        heights, widths = (pieces(self.bins, _CHUNK_FLOATS // floats) for floats in (one * self.bins, one))
        columns_of_pieces = list(zip(*(graph.split(column, widths, 1) for column in columns), strict=True))
        rows_of_pieces = zip(*(graph.split(row, heights, 0) for row in rows), strict=True)
        lines = []
        for row, weights in zip(rows_of_pieces, np.split(weight, np.cumsum(heights)[:-1], 0), strict=True):
            products = [
                graph.op("MatMul", self._sums(row, column), graph.constant(part))
                for column, part in zip(columns_of_pieces, np.split(weights, np.cumsum(widths)[:-1], 1), strict=True)
            ]
            lines.append(graph.concat(products, 1))
        return graph.concat(lines, 0)

    def _sums(self, rows: Sequence[ir.Value], columns: Sequence[ir.Value]) -> ir.Value:
        """``(bins y, bins x, R, C)`` from the places of the bins' two ends along each axis."""
        # Along one axis and then the other: each difference is the sum of a strip, small beside the table's.
        (top, bottom), (left, right) = rows, columns
        strips = (self.graph.op("Sub", self._at(bottom, x), self._at(top, x)) for x in (right, left))
        return self.graph.op("Sub", *strips)

    def _places(self, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Look-ups of x and y, which add up to a place in the table whatever the edges were, numbers or not."""
        graph = self.graph
        index = graph.op("Cast", value, to=int(ir.DataType.INT64))
        last = graph.ints(self.row_length - 1, self.rows - 1)
        index = graph.op("Min", graph.op("Max", index, graph.ints(0)), last)
        return self._axes(graph.op("Mul", index, graph.ints(1, self.row_length)))

    def _axes(self, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        """``(1, bins, R)`` of x and ``(bins, 1, R)`` of y from ``(bins, R, 2)``."""
        x, y = self.graph.split(value, (1, 1), 2)
        return self.graph.reshape(x, 1, self.bins, -1), self.graph.reshape(y, self.bins, 1, -1)

    def _outer(self, value: ir.Value) -> ir.Value:
        """``(bins y, bins x, R)`` products of an x and a y value."""
        return self.graph.op("Mul", *self._axes(value))

    def _at(self, row: ir.Value, column: ir.Value) -> ir.Value:
        return self.graph.op("Gather", self.table, self.graph.op("Add", row, column), axis=0)
