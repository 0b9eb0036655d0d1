"""Half precision of one subgraph: its convolutions in float16, all else and its inputs and outputs in float32."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from lsts_edge.errors import ExportError
from lsts_edge.export.finished import finished
from lsts_edge.export.quantize import QUANTIZABLE
from lsts_edge.export.quiet import quiet

__all__ = ["halved"]


def halved(name: str, model: bytes) -> onnx.ModelProto:
    """The graph with the operators that int8 would take (``QUANTIZABLE``) in float16, and their weights.

    For devices that compute float16 (CUDA, TensorRT): a processor without it converts back and forth. Softmax, LSTS,
    the blend and box arithmetic stay in float32.

    Args:
        name: of the subgraph; tells which operators change.
        model: the float32 graph, serialised.

    Raises:
        ExportError: if the graph must stay in float32, or has nothing to change.
    """
    if name not in QUANTIZABLE:
        fix = "Leave it as it is."
        raise ExportError(f"graph {name} in fp16", got="a graph that stays in float32", expected="another", fix=fix)
    from onnxruntime.transformers.float16 import convert_float_to_float16

    given = onnx.ModelProto.FromString(model)
    kept = {node.op_type for node in given.graph.node} - set(QUANTIZABLE[name])
    with quiet():
        changed = convert_float_to_float16(given, keep_io_types=True, op_block_list=sorted(kept))
    if not any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in changed.graph.initializer):
        raise ExportError(f"graph {name} in fp16", got="nothing to change", expected="convolutions", fix="Keep it.")
    sorted_model = ir.from_proto(changed)
    sorted_model.graph.sort()  # the converter appends its casts at the end
    return finished(ir.to_proto(sorted_model))
