"""The last step of every graph that we write: our IR version and producer, nothing about where it was made, checked."""

from __future__ import annotations

import re

import onnx

from lsts_edge import __version__
from lsts_edge.errors import ExportError

__all__ = ["IR_VERSION", "OPSET", "finished"]

OPSET = 18
IR_VERSION = 10


def finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give ``model`` our IR version and producer, drop notes about where it was made, and check it.

    Raises:
        ExportError: if it is not valid ONNX, or holds local functions or external data.
    """
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "lsts-edge", __version__
    model.doc_string = ""
    model.ClearField("metadata_props")
    graph = model.graph
    graph.doc_string = ""
    for item in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    graph.ClearField("value_info")
    weights = sorted(graph.initializer, key=lambda tensor: tensor.name)  # torch's order differs from run to run
    graph.ClearField("initializer")
    graph.initializer.extend(weights)
    external = [tensor.name for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if model.functions or external:
        raise ExportError(
            f"graph {graph.name}",
            got=f"{len(model.functions)} local functions, external data {external[:3]}",
            expected="plain nodes and weights inside the file",
            fix="Write the layer in operators that ONNX has.",
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:300]
        raise ExportError(
            f"graph {graph.name} is not valid ONNX", got=reason, expected=f"opset {OPSET}", fix="Report this as a bug."
        ) from error
    return model
