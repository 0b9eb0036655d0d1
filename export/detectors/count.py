"""Parameters and multiply-adds of a graph at its own input size."""

from __future__ import annotations

import math

import onnx

from lsts_edge.export.detectors.shapes import shapes_at

__all__ = ["count_graph"]


def count_graph(model: onnx.ModelProto) -> tuple[int, int]:
    """Numbers among its weights, and multiply-adds of its convolutions and matrix products in one run.

    Args:
        model: with inputs of known shapes. Products of which a shape is not known before the run are not counted.
    """
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in floats)
    inputs = {
        info.name: tuple(axis.dim_value for axis in info.type.tensor_type.shape.dim)
        for info in model.graph.input
        if info.name not in weights
    }
    shapes = shapes_at(model, inputs, {}).of
    total = 0
    for node in model.graph.node:
        result = shapes.get(node.output[0])
        second = weights.get(node.input[1]) or shapes.get(node.input[1]) if len(node.input) > 1 else None
        if result is None or second is None:
            continue
        if node.op_type == "Conv":
            total += math.prod(result) * math.prod(second[1:])
        elif node.op_type == "MatMul" and len(second) > 1:
            total += math.prod(result) * second[-2]
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            total += math.prod(result) * second[1 if transposed else 0]
    return parameters, total
