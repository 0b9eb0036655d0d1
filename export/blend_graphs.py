"""The embedding and aggregation subgraphs, with what cancels in the aggregation left out."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.graph import Builder
from lsts_edge.model.aggregation import Aggregation
from lsts_edge.model.network import VideoNetwork

__all__ = ["blend_graphs"]

Shape = tuple[int, int, int, int]


def blend_graphs(network: VideoNetwork, shape: Shape) -> dict[str, onnx.ModelProto]:
    """``embed_*``, ``aggregate_*`` and, where memory and task feature start as one but part later, ``start``.

    Args:
        network: with LSTS.
        shape: ``(1, C, H, W)`` of the features.

    Raises:
        ExportError: if an embedding or aggregation is not of the network's own classes.
    """
    preset = network.preset
    srfu, dfa = network.srfu, network.dfa
    assert preset.lsts is not None and srfu is not None and dfa is not None
    key = {"memory": ("memory_embedding", srfu.embed_old), "feature": ("feature_embedding", srfu.embed_new)}
    graphs = {
        "embed_key": _embed("embed_key", key, shape),
        "embed_memory": _embed("embed_memory", {"task": ("task_embedding", dfa.embed_old)}, shape),
        "embed_current": _embed("embed_current", {"high": ("high_embedding", dfa.embed_new)}, shape),
    }
    two_memories = preset.form == "released" and preset.recursion != 1.0
    recursion = preset.recursion if two_memories else None
    graphs["aggregate_key"] = _aggregate("aggregate_key", ("feature", "aligned"), srfu.aggregation, shape, recursion)
    if network.task_aggregation is not None:
        inputs = ("memory", "feature")
        graphs["aggregate_task"] = _aggregate("aggregate_task", inputs, network.task_aggregation, shape)
    graphs["aggregate_current"] = _aggregate("aggregate_current", ("high", "aligned"), dfa.aggregation, shape)
    if two_memories:
        start = Builder("start")
        feature = start.input("feature", shape)
        graphs["start"] = start.build(
            {name: (start.op("Identity", feature), shape, "float32") for name in ("memory", "task")}
        )
    return graphs


def _embed(name: str, convs: dict[str, tuple[str, nn.Conv2d]], shape: Shape) -> onnx.ModelProto:
    graph = Builder(name)
    outputs = {}
    for source, (output, conv) in convs.items():
        value = _conv(graph, graph.input(source, shape), *_weights(conv), conv)
        outputs[output] = (value, (1, conv.out_channels, *shape[2:]), "float32")
    return graph.build(outputs)


def _aggregate(
    name: str, inputs: tuple[str, str], aggregation: nn.Module, shape: Shape, recursion: float | None = None
) -> onnx.ModelProto:
    """Blend of two features; with ``recursion`` r also ``memory = r * task + (1 - r) * first``."""
    if not isinstance(aggregation, Aggregation):
        raise ExportError(
            f"{name}: {type(aggregation).__name__}",
            got="no way to write it in ONNX",
            expected="Aggregation",
            fix="Write its graph with lsts_edge.export.graph.Builder, as blend_graphs does.",
        )
    graph = Builder(name)
    first, second = (graph.input(source, shape) for source in inputs)
    layers = [layer for layer in aggregation.stack.layers if isinstance(layer, nn.Conv2d)]
    if aggregation.form == "shared" and not aggregation.stack.relu:
        score = _score_of_difference(graph, graph.op("Sub", first, second), layers)
    else:
        score = graph.op("Concat", first, second, axis=1)
        for layer in layers:
            score = _conv(graph, score, *_weights(layer), layer)
    weight = graph.op("Sigmoid", score)
    other = graph.op("Sub", 1.0, weight)
    task = graph.op("Add", graph.op("Mul", weight, first), graph.op("Mul", other, second))
    outputs = {"task": (task, shape, "float32")}
    if recursion is not None:
        kept = graph.op("Mul", first, 1.0 - recursion)
        outputs["memory"] = (graph.op("Add", graph.op("Mul", task, recursion), kept), shape, "float32")
    return graph.build(outputs)


def _score_of_difference(graph: Builder, difference: ir.Value, layers: list[nn.Conv2d]) -> ir.Value:
    """``stack(first) - stack(second)`` as one pass over ``first - second``.

    The stack has no activation, so it is linear but for its biases, and these cancel, also where zero padding cuts
    them off. Without biases a 1x1 convolution may be merged into the one behind it, which is done where it saves.
    """
    index = 0
    while index < len(layers):
        layer = layers[index]
        weight = _weights(layer)[0]
        following = layers[index + 1] if index + 1 < len(layers) else None
        if following is not None and layer.kernel_size == (1, 1) and layer.stride == (1, 1):
            merged = np.einsum("omyx,mi->oiyx", _weights(following)[0].astype(np.float64), weight[:, :, 0, 0])
            if merged.size < weight.size + following.weight.numel():
                layer, weight = following, merged.astype(np.float32)
                index += 1
        difference = _conv(graph, difference, weight, None, layer)
        index += 1
    return difference


def _weights(conv: nn.Conv2d) -> tuple[np.ndarray, np.ndarray | None]:
    bias = None if conv.bias is None else conv.bias.detach().cpu().float().numpy()
    return conv.weight.detach().cpu().float().numpy(), bias


def _conv(graph: Builder, value: ir.Value, weight: np.ndarray, bias: np.ndarray | None, like: nn.Conv2d) -> ir.Value:
    """A convolution with the stride, padding and dilation of ``like``."""
    pad_y, pad_x = (int(pad) for pad in like.padding)
    inputs = [value, graph.constant(weight), *(() if bias is None else (graph.constant(bias),))]
    return graph.op("Conv", *inputs, pads=(pad_y, pad_x, pad_y, pad_x), strides=like.stride, dilations=like.dilation)
