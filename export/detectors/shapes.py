"""Shapes of all tensors of a graph at one input size, and grid constants rewritten for another size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from lsts_edge.errors import DetectorSize

__all__ = ["Shapes", "reshaped_like", "shapes_at", "with_size"]

Shape = tuple[int, ...]

_MAX_KNOWN = 4096  # elements of a value that is followed: shapes, bounds, scales
# Whole-number arithmetic on shapes, as exporters write it; all have outputs no larger than their inputs.
_FOLDED = {
    "Add", "Cast", "Ceil", "Concat", "Constant", "Div", "Equal", "Floor", "Gather", "Identity", "Max", "Min", "Mod",
    "Mul", "ReduceProd", "Reshape", "Shape", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Where",
}  # fmt: skip


class Shapes:
    """Follows shapes, and the few whole numbers computed from them, through a graph, node by node.

    Attributes:
        of: tensor name -> shape, where it is known in full.
        known: tensor name -> value of constants and of shape arithmetic.
    """

    def __init__(self, model: onnx.ModelProto, inputs: Mapping[str, Shape], values: Mapping[str, np.ndarray]) -> None:
        """Start with the model's inputs.

        Args:
            model: its nodes are in order, as the checker wants it.
            inputs: shapes of its inputs.
            values: of inputs that are constants.
        """
        self.of: dict[str, Shape] = {}
        self.known: dict[str, np.ndarray] = {}
        self._types: dict[str, onnx.TypeProto] = {}
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._ir_version = model.ir_version
        self._imports = list(model.opset_import)
        self._opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        for info in model.graph.input:
            if info.name in inputs:
                kind = info.type.tensor_type.elem_type
                self._set_type(info.name, onnx.helper.make_tensor_type_proto(kind, inputs[info.name]))
        for name, value in values.items():
            self._set_known(name, value)
        for tensor in model.graph.initializer:
            self._set_type(tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, tuple(tensor.dims)))
            if math.prod(tensor.dims) <= _MAX_KNOWN:
                self._set_known(tensor.name, numpy_helper.to_array(tensor))

    def follow(self, node: onnx.NodeProto) -> None:
        """Add what ``node`` gives.

        Raises:
            Exception: of whatever kind, if the inputs do not fit the node.
        """
        inputs = [name for name in node.input if name]
        schema = onnx.defs.get_schema(node.op_type, self._opset, node.domain)
        types = onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: self._types[name] for name in inputs if name in self._types},
            {name: self._tensors[name] for name in inputs if name in self._tensors},
            opset_imports=self._imports,
            ir_version=self._ir_version,
        )
        for name, kind in types.items():
            self._set_type(name, kind)
        if node.op_type == "Shape" and node.input[0] in self.of:
            start, end = (_attribute(node, "start", 0), _attribute(node, "end", None))
            self._set_known(node.output[0], np.array(self.of[node.input[0]][start:end], np.int64))
        elif node.op_type == "ConstantOfShape" and node.input[0] in self.known:
            size = math.prod(int(side) for side in self.known[node.input[0]])
            if size <= _MAX_KNOWN:
                self._fold(node, inputs)
        elif node.op_type in _FOLDED and all(name in self.known for name in inputs):
            self._fold(node, inputs)

    def _fold(self, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        results = ReferenceEvaluator(node).run(None, {name: self.known[name] for name in inputs})
        for name, value in zip(node.output, results, strict=True):
            self._set_known(name, np.asarray(value))

    def _set_known(self, name: str, value: np.ndarray) -> None:
        if value.size > _MAX_KNOWN:
            return
        self.known[name] = value
        self._tensors[name] = numpy_helper.from_array(value, name)
        self._set_type(name, onnx.helper.make_tensor_type_proto(self._tensors[name].data_type, value.shape))

    def _set_type(self, name: str, kind: onnx.TypeProto) -> None:
        self._types[name] = kind
        self.of.pop(name, None)
        tensor = kind.tensor_type
        known = kind.HasField("tensor_type") and tensor.HasField("shape")
        if known and all(axis.HasField("dim_value") for axis in tensor.shape.dim):
            self.of[name] = tuple(axis.dim_value for axis in tensor.shape.dim)

    def partial(self, name: str) -> tuple[int | None, ...] | None:
        """Shape with None for what is not known."""
        kind = self._types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.tensor_type.shape.dim)


def shapes_at(model: onnx.ModelProto, inputs: Mapping[str, Shape], values: Mapping[str, np.ndarray]) -> Shapes:
    """Shapes of the graph as it is.

    Raises:
        DetectorSize: if a node cannot take what comes to it.
    """
    shapes = Shapes(model, inputs, values)
    for node in model.graph.node:
        _follow(shapes, node)
    return shapes


def with_size(
    model: onnx.ModelProto,
    before: tuple[Mapping[str, Shape], Mapping[str, np.ndarray]],
    after: tuple[Mapping[str, Shape], Mapping[str, np.ndarray]],
) -> tuple[onnx.ModelProto, Shapes]:
    """The same network at another size: constants of ``Reshape`` and ``Resize`` that hold the old grid are rewritten.

    Args:
        model: the network, whose constants fit ``before``.
        before: input shapes, and values of constant inputs, of the old size.
        after: likewise, of the new size.

    Returns:
        A changed copy, whose inputs state the new size, and its shapes.

    Raises:
        DetectorSize: if something else depends on the old size (anchors, position codes, windows).
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    old, new = shapes_at(model, *before), Shapes(changed, *after)
    for node in changed.graph.node:
        _refit(changed.graph, node, old, new)
        _follow(new, node)
    for info in changed.graph.input:
        if info.name in after[0]:
            kind = info.type.tensor_type.elem_type
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, kind, after[0][info.name]))
    del changed.graph.value_info[:]
    for info in changed.graph.output:
        shape = new.partial(info.name)
        kind = info.type.tensor_type.elem_type
        info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, kind, shape))
    return changed, new


def reshaped_like(old_in: Shape, old_out: Shape, new_in: Shape) -> Shape | None:
    """What ``old_in -> old_out`` is for ``new_in``; None where that cannot be told.

    Both shapes fall into shortest runs of equal product: ``(96)(52)(52) -> (2 48)(52)(52)``. A run whose input sizes
    are unchanged keeps its output, one with a single output axis takes the product, one of equal axes takes them over.
    """
    if len(old_in) != len(new_in) or math.prod(old_in) != math.prod(old_out) or 0 in old_in:
        return None
    found: list[int] = []
    i = o = 0
    while i < len(old_in) or o < len(old_out):
        first_i, first_o = i, o
        i, o = min(i + 1, len(old_in)), min(o + 1, len(old_out))
        while math.prod(old_in[first_i:i]) != math.prod(old_out[first_o:o]):
            if math.prod(old_in[first_i:i]) < math.prod(old_out[first_o:o]):
                i += 1
            else:
                o += 1
        run, out, now = old_in[first_i:i], old_out[first_o:o], new_in[first_i:i]
        if run == now:
            found += out
        elif len(out) == 1:
            found.append(math.prod(now))
        elif run == out:
            found += now
        else:
            return None
    return tuple(found)


def _refit(graph: onnx.GraphProto, node: onnx.NodeProto, old: Shapes, new: Shapes) -> None:
    """Give ``node`` a constant of its own where the old one holds the old grid."""
    name = node.input[0] if node.input else ""
    if name not in old.of or name not in new.of or old.of[name] == new.of[name]:
        return
    result = old.of.get(node.output[0])
    if node.op_type == "Reshape" and node.input[1] in old.known and result is not None:
        literal = old.known[node.input[1]]
        if literal.tolist() != new.known.get(node.input[1], literal).tolist():
            return  # computed from the shape: right at every size
        wanted = reshaped_like(old.of[name], result, new.of[name])
        if wanted is None:
            raise _stuck(node, f"{old.of[name]} -> {result}")
        if _meant(literal.tolist(), new.of[name], bool(_attribute(node, "allowzero", 0))) != wanted:
            _own_constant(graph, node, 1, np.array(wanted, np.int64), new)
    elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3] in old.known and result is not None:
        literal = old.known[node.input[3]]
        if literal.tolist() == new.known.get(node.input[3], literal).tolist() and len(literal) == len(result):
            pairs = list(zip(new.of[name], result, old.of[name], strict=True))
            if any(now * after % before for now, after, before in pairs):
                raise _stuck(node, f"sizes {literal.tolist()}")
            sizes = np.array([now * after // before for now, after, before in pairs], np.int64)
            _own_constant(graph, node, 3, sizes, new)


def _meant(literal: Sequence[int], shape: Shape, allowzero: bool) -> Shape | None:
    sizes = [shape[i] if side == 0 and not allowzero and i < len(shape) else side for i, side in enumerate(literal)]
    if -1 in sizes:
        rest = -math.prod(sizes)
        if rest <= 0 or math.prod(shape) % rest:
            return None
        sizes[sizes.index(-1)] = math.prod(shape) // rest
    return tuple(sizes)


def _own_constant(graph: onnx.GraphProto, node: onnx.NodeProto, index: int, value: np.ndarray, new: Shapes) -> None:
    name = f"{node.output[0]}/grid"
    graph.initializer.append(numpy_helper.from_array(value, name))
    node.input[index] = name
    new._set_known(name, value)


def _follow(shapes: Shapes, node: onnx.NodeProto) -> None:
    try:
        shapes.follow(node)
    except Exception as error:  # inference, schema and reference errors share no base class
        raise _stuck(node, re.sub(r"\s+", " ", str(error))[:160]) from error


def _stuck(node: onnx.NodeProto, why: str) -> DetectorSize:
    return DetectorSize(
        "the detector cannot run at this size",
        got=f"node {node.op_type} {node.output[0][:60]!r}: {why}",
        expected="a graph whose grid constants are in Reshape and Resize only",
        fix="Keep the size it was exported at, or export it with free height and width.",
    )


def _attribute(node: onnx.NodeProto, name: str, default: int | None) -> int | None:
    return next((item.i for item in node.attribute if item.name == name), default)
