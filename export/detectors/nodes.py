"""Adds nodes to a graph: a thin layer over onnx-graphsurgeon that names tensors and keeps equal constants once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

__all__ = ["Nodes"]


class Nodes:
    """Appends nodes to ``graph``; their tensors start with ``prefix``.

    Args:
        graph: is changed.
        opset: of the graph: one node is written in another way from 18 on.
        prefix: for names that no other part of the graph has.
    """

    def __init__(self, graph: gs.Graph, opset: int, prefix: str) -> None:
        self._graph, self._opset, self._prefix = graph, opset, prefix
        self._constants: dict[tuple[str, tuple[int, ...], bytes], gs.Constant] = {}
        self._count = 0

    def constant(self, value: Any, dtype: str = "float32") -> gs.Constant:
        """A constant; equal ones are stored once."""
        data = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._constants:
            self._constants[key] = gs.Constant(f"{self._prefix}const_{len(self._constants)}", data)
        return self._constants[key]

    def ints(self, *values: int) -> gs.Constant:
        """A one-axis int64 constant, as shapes, axes and slice bounds are given."""
        return self.constant(values, "int64")

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> gs.Variable:
        """A node with one output; a Python number among the inputs becomes a float32 constant."""
        return self.outputs(kind, 1, *inputs, **attributes)[0]

    def outputs(self, kind: str, count: int, *inputs: Any, **attributes: Any) -> list[gs.Variable]:
        """A node with ``count`` outputs."""
        values = [self.constant(value) if isinstance(value, int | float) else value for value in inputs]
        name = f"{self._prefix}{kind}_{self._count}"
        self._count += 1
        found = [gs.Variable(f"{name}:{index}") for index in range(count)]
        self._graph.nodes.append(gs.Node(kind, name, attributes, values, found))
        return found

    def into(self, variable: gs.Variable, kind: str, *inputs: Any, **attributes: Any) -> None:
        """A node that writes an existing ``variable``."""
        made = self.op(kind, *inputs, **attributes)
        made.inputs[0].outputs = [variable]

    def concat(self, parts: list[Any], axis: int) -> Any:
        """``parts`` one behind the other."""
        return self.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def slice(self, value: Any, start: int, end: int, axis: int) -> gs.Variable:
        """``value`` from ``start`` to ``end`` along ``axis``."""
        return self.op("Slice", value, self.ints(start), self.ints(end), self.ints(axis))

    def reshape(self, value: Any, *shape: int) -> gs.Variable:
        """``value`` with another shape; one size may be -1."""
        return self.op("Reshape", value, self.ints(*shape))

    def cast(self, value: Any, dtype: str) -> gs.Variable:
        """``value`` as another type."""
        return self.op("Cast", value, to=np.dtype(dtype).type)

    def top(self, values: Any, count: Any, *, largest: bool = True) -> tuple[gs.Variable, gs.Variable]:
        """The first ``count`` of a one-axis array in order, and where they were."""
        best, order = self.outputs("TopK", 2, values, count, axis=0, largest=int(largest), sorted=1)
        return best, order

    def max_of_rows(self, value: Any) -> gs.Variable:
        """The largest number of each row of a two-axis array."""
        if self._opset < 18:  # axes became an input
            return self.op("ReduceMax", value, axes=[1], keepdims=0)
        return self.op("ReduceMax", value, self.ints(1), keepdims=0)
