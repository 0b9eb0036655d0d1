"""Static int8 quantisation of one subgraph: QDQ, uint8 activations, int8 weights per channel, from recorded inputs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from lsts_edge.errors import ExportError
from lsts_edge.export.finished import finished
from lsts_edge.export.quiet import quiet

__all__ = ["QUANTIZABLE", "quantized"]

Feeds = Mapping[str, np.ndarray]

_CONVOLUTIONS = ("Conv", "Relu", "Clip")
_BACKBONE = (*_CONVOLUTIONS, "Add", "MaxPool")
# Outside the backbone additions blend, normalise and move boxes: those stay in float32, as softmax and LSTS do.
QUANTIZABLE: Mapping[str, tuple[str, ...]] = {
    "heavy": _BACKBONE,
    "light": _BACKBONE,
    "embed_key": _CONVOLUTIONS,
    "embed_memory": _CONVOLUTIONS,
    "embed_current": _CONVOLUTIONS,
    "aggregate_key": _CONVOLUTIONS,
    "aggregate_task": _CONVOLUTIONS,
    "aggregate_current": _CONVOLUTIONS,
    "head": ("Conv",),
    "detector": ("Conv", "Clip", "Relu"),
}
"""Graph -> operators that may become int8; LSTS graphs are not here and are never touched."""

FIRST_IN_FLOAT32 = {"heavy": 6, "light": 3, "detector": 3}
"""Convolutions at the start that stay in float32 where a network has depthwise ones: they see the widest ranges and
cost little in ``light``; in ``heavy`` the gate of lsts-lite did not pass without. The dense first layers of a residual
network are as accurate in int8 as in float32, and its trunk keeps one memory layout then."""


def quantized(name: str, model: bytes, feeds: Sequence[Feeds], *, keep: Sequence[str] = ()) -> onnx.ModelProto:
    """The graph with its convolutions (and, in the backbone, residual additions) in int8.

    Ranges are the smallest and largest value that each tensor takes over ``feeds``. Weights are symmetric. Inputs and
    outputs keep their types, so that programs need not know.

    Args:
        name: of the subgraph; tells which operators may be quantised.
        model: the float32 graph, serialised.
        feeds: inputs as the graph meets them in use, at least one; the memory that is carried among them.
        keep: names of nodes to leave in float32.

    Raises:
        ExportError: if the graph must stay in float32, has nothing to quantise, or there are no feeds.
    """
    if name not in QUANTIZABLE or not feeds:
        raise ExportError(
            f"graph {name} in int8",
            got="no recorded inputs" if name in QUANTIZABLE else "a graph that stays in float32",
            expected=f"inputs for one of {', '.join(QUANTIZABLE)}",
            fix="Calibrate on a clip with keyframes and propagated frames.",
        )
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    written = io.BytesIO()
    given = onnx.ModelProto.FromString(model)
    name_in_file, opsets = given.graph.name, list(given.opset_import)
    _name_nodes(given)
    with quiet():
        quantize_static(
            given,
            written,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZABLE[name]),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[*keep, *_first_convolutions(name, given)],
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
    changed = onnx.ModelProto.FromString(written.getvalue())
    if not any(node.op_type == "QuantizeLinear" for node in changed.graph.node):
        raise ExportError(f"graph {name} in int8", got="nothing to quantise", expected="convolutions", fix="Keep it.")
    del changed.opset_import[:]
    changed.opset_import.extend(opsets)
    changed.graph.name = name_in_file
    return finished(changed)


class _Reader:
    """Hands the recorded inputs to the calibrator one by one."""

    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self._feeds = feeds
        self._next = 0
        self._end = len(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next frame's inputs; None at the end."""
        if self._next >= self._end:
            return None
        self._next += 1
        return dict(self._feeds[self._next - 1])

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Restrict to some of them, as the calibrator may ask."""
        self._next, self._end = start_index, min(end_index, len(self._feeds))


def _first_convolutions(name: str, model: onnx.ModelProto) -> list[str]:
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if not any(attribute.name == "group" and attribute.i > 1 for node in convolutions for attribute in node.attribute):
        return []
    first = min(FIRST_IN_FLOAT32.get(name, 0), len(convolutions) // 3)
    return [node.name for node in convolutions[:first]]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Nodes are told apart by name while they are quantised, and the small builder gives them none."""
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
