"""A small builder for ONNX graphs in standard operators: opset 18, IR 10, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from lsts_edge.export.finished import IR_VERSION, OPSET, finished
from lsts_edge.opspec import LSTS

__all__ = ["Builder", "pieces"]

_ONNX_TYPES = {"float32": ir.DataType.FLOAT, "uint8": ir.DataType.UINT8, "int64": ir.DataType.INT64}


class Builder:
    """Records nodes and constants of one graph.

    Args:
        name: the graph's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tape = ir.tape.Tape()
        self._inputs: list[ir.Value] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> ir.Value:
        """Declare the next input of the graph."""
        value = ir.val(name, dtype=_ONNX_TYPES[dtype], shape=tuple(shape))
        self._inputs.append(value)
        return value

    def constant(self, array: Any, dtype: str = "float32") -> ir.Value:
        """A constant; equal ones are stored once."""
        data = np.ascontiguousarray(np.asarray(array, dtype=dtype)).reshape(np.shape(array))
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._constants:
            name = f"const_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(ir.tensor(data, name=name), name=name)
        return self._constants[key]

    def ints(self, *values: int) -> ir.Value:
        """A one-axis int64 constant, as shapes, axes and slice bounds are given."""
        return self.constant(np.array(values), "int64")

    def op(self, kind: str, *inputs: ir.Value | float | None, domain: str = "", **attributes: Any) -> ir.Value:
        """Add one node with one output; a Python number among the inputs becomes a float32 constant."""
        values = [self.constant(value) if isinstance(value, int | float) else value for value in inputs]
        return self._tape.op(kind, values, attributes=attributes, domain=domain)

    def op_pair(self, kind: str, *inputs: ir.Value, **attributes: Any) -> tuple[ir.Value, ir.Value]:
        """Add one node with two outputs."""
        first, second = self._tape.op_multi_out(kind, list(inputs), attributes=attributes, num_outputs=2)
        return first, second

    def split(self, value: ir.Value, parts: Sequence[int], axis: int) -> Sequence[ir.Value]:
        """Cut ``value`` along ``axis`` into pieces of the given sizes; one piece is ``value`` itself."""
        if len(parts) == 1:
            return (value,)
        inputs = [value, self.ints(*parts)]
        return self._tape.op_multi_out("Split", inputs, attributes={"axis": axis}, num_outputs=len(parts))

    def concat(self, parts: Sequence[ir.Value], axis: int) -> ir.Value:
        """``parts`` one behind the other along ``axis``: what undoes ``split``."""
        return self.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def slice(self, value: ir.Value, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> ir.Value:
        """``value`` between ``starts`` and ``ends`` on each of ``axes``."""
        return self.op("Slice", value, self.ints(*starts), self.ints(*ends), self.ints(*axes))

    def reshape(self, value: ir.Value, *shape: int) -> ir.Value:
        """``value`` with another shape; one size may be -1, 0 keeps a size."""
        return self.op("Reshape", value, self.ints(*shape))

    def build(self, outputs: Mapping[str, tuple[ir.Value, Sequence[int | str], str]]) -> onnx.ModelProto:
        """The finished, checked model.

        Args:
            outputs: output name -> (value, shape, dtype).

        Raises:
            ExportError: if the graph is not valid ONNX.
        """
        for name, (value, shape, dtype) in outputs.items():
            value.name, value.shape, value.dtype = name, ir.Shape(tuple(shape)), _ONNX_TYPES[dtype]
        graph = ir.Graph(
            self._inputs,
            [value for value, _, _ in outputs.values()],
            nodes=self._tape.nodes,
            initializers=self._tape.initializers,
            opset_imports={"": OPSET},
            name=self._name,
        )
        if any(node.domain == LSTS.domain for node in self._tape.nodes):
            graph.opset_imports[LSTS.domain] = LSTS.since
        return finished(ir.to_proto(ir.Model(graph, ir_version=IR_VERSION)))


def pieces(count: int, size: int) -> list[int]:
    """Sizes, for ``Builder.split``, of ``count`` items in pieces of ``size``; of one item where ``size`` is less."""
    size = max(1, size)
    return [min(size, count - start) for start in range(0, count, size)]
