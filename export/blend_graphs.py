"""The embedding and aggregation subgraphs, with what cancels in the aggregation left out."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.graph import Builder
from lsts_edge.export.programs import two_features
from lsts_edge.export.shapes import Shape
from lsts_edge.model.aggregation import Aggregation, Mean
from lsts_edge.model.network import VideoNetwork

__all__ = ["blend_graphs"]


def blend_graphs(network: VideoNetwork, shape: Shape) -> dict[str, onnx.ModelProto]:
    """``embed_*``, ``aggregate_*`` and, where memory and task feature start as one but part later, ``start``.

    Args:
        network: any; one without a memory has none of these.
        shape: ``(1, C, H, W)`` of the features.

    Raises:
        ExportError: if an embedding or aggregation is not of the network's own classes.
    """
    preset = network.preset
    srfu, dfa = network.srfu, network.dfa
    graphs: dict[str, onnx.ModelProto] = {}
    if dfa is None:
        return graphs
    if srfu is not None and srfu.embed_old is not None and srfu.embed_new is not None:
        key = {"memory": ("memory_embedding", srfu.embed_old), "feature": ("feature_embedding", srfu.embed_new)}
        graphs["embed_key"] = _embed("embed_key", key, shape)
    if dfa.embed_old is not None and dfa.embed_new is not None:
        graphs["embed_memory"] = _embed("embed_memory", {"task": ("task_embedding", dfa.embed_old)}, shape)
        graphs["embed_current"] = _embed("embed_current", {"high": ("high_embedding", dfa.embed_new)}, shape)
    recursion = preset.recursion if two_features(preset) else None
    if srfu is not None and srfu.aggregation is not None:
        inputs = ("feature", "aligned")
        graphs["aggregate_key"] = _aggregate("aggregate_key", inputs, srfu.aggregation, shape, recursion)
    if network.task_aggregation is not None:
        inputs = ("memory", "feature")
        graphs["aggregate_task"] = _aggregate("aggregate_task", inputs, network.task_aggregation, shape)
    if dfa.aggregation is not None:
        graphs["aggregate_current"] = _aggregate("aggregate_current", ("high", "aligned"), dfa.aggregation, shape)
    if recursion is not None:
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
    if not isinstance(aggregation, Aggregation | Mean):
        raise ExportError(
            f"{name}: {type(aggregation).__name__}",
            got="no way to write it in ONNX",
            expected="Aggregation",
            fix="Write its graph with lsts_edge.export.graph.Builder, as blend_graphs does.",
        )
    graph = Builder(name)
    first, second = (graph.input(source, shape) for source in inputs)
    if isinstance(aggregation, Mean):
        task = graph.op("Mul", graph.op("Add", first, second), 0.5)
    else:
        difference = graph.op("Sub", first, second)
        weight = graph.op("Sigmoid", _score(graph, aggregation, first, second, difference))
        # One pass over the features less than weight * first + (1 - weight) * second.
        task = graph.op("Add", second, graph.op("Mul", weight, difference))
    outputs = {"task": (task, shape, "float32")}
    if recursion == 1.0:
        outputs["memory"] = (graph.op("Identity", task), shape, "float32")
    elif recursion is not None:
        kept = graph.op("Mul", first, 1.0 - recursion)
        outputs["memory"] = (graph.op("Add", graph.op("Mul", task, recursion), kept), shape, "float32")
    return graph.build(outputs)


def _score(
    graph: Builder, aggregation: Aggregation, first: ir.Value, second: ir.Value, difference: ir.Value
) -> ir.Value:
    layers = [layer for layer in aggregation.stack.layers if isinstance(layer, nn.Conv2d)]
    if aggregation.form == "shared" and not aggregation.stack.relu:
        return _score_of_difference(graph, difference, layers)
    score = graph.op("Concat", first, second, axis=1)
    for layer in layers:
        score = _conv(graph, score, *_weights(layer), layer)
    return score


def _score_of_difference(graph: Builder, difference: ir.Value, layers: list[nn.Conv2d]) -> ir.Value:
    """``stack(first) - stack(second)`` as one pass over ``first - second``.

    The stack has no activation, so it is linear but for its biases, and these cancel, also where zero padding cuts
    them off. What is left may be multiplied out in two ways; the one with the fewest multiply-adds is written.
    """
    chain = min((_merged(layers), _taps_first(layers)), key=lambda kernels: sum(kernel.size for kernel in kernels))
    for kernel in chain:
        pad_y, pad_x = kernel.shape[2] // 2, kernel.shape[3] // 2
        pads = (pad_y, pad_x, pad_y, pad_x)
        difference = graph.op("Conv", difference, graph.constant(kernel), pads=pads)
    return difference


def _merged(layers: list[nn.Conv2d]) -> list[np.ndarray]:
    """Kernels ``(out, in, y, x)`` of the layers, a 1x1 merged into the layer behind it where that saves."""
    kernels: list[np.ndarray] = []
    for kernel in (_weights(layer)[0] for layer in layers):
        if kernels and kernels[-1].shape[2:] == (1, 1):
            before = kernels[-1]
            merged = np.einsum("omyx,mi->oiyx", kernel.astype(np.float64), before[:, :, 0, 0])
            if merged.size < before.size + kernel.size:
                kernels[-1] = merged.astype(np.float32)
                continue
        kernels.append(kernel)
    return kernels


def _taps_first(layers: list[nn.Conv2d]) -> list[np.ndarray]:
    """One 1x1 kernel that holds every product of the layers' taps, and for each layer one that shifts and adds them.

    A layer is a 1x1 convolution to ``taps x out`` channels and a sum of shifted channels, and the 1x1 part commutes
    with the shifts of the layer before: all of them together are one. Each layer's zero padding stays its own. From
    many channels to one score this is the smaller product, and a 1x1 convolution is the fastest kind.
    """
    products = np.eye(layers[-1].out_channels)  # (rows, channels); in the end the first layer's taps vary fastest
    adders: list[np.ndarray] = []
    for layer in reversed(layers):
        kernel = _weights(layer)[0].astype(np.float64)
        taps, rows = kernel[0, 0].size, len(products)
        products = np.einsum("ro,oiyx->ryxi", products, kernel).reshape(rows * taps, -1)
        if taps > 1:
            adders.append(np.einsum("rs,tp->rstp", np.eye(rows), np.eye(taps)).reshape(rows, -1, *kernel.shape[2:]))
    chain = [products[:, :, None, None], *reversed(adders)]
    return [np.ascontiguousarray(kernel, dtype=np.float32) for kernel in chain]


def _weights(conv: nn.Conv2d) -> tuple[np.ndarray, np.ndarray | None]:
    bias = None if conv.bias is None else conv.bias.detach().cpu().float().numpy()
    return conv.weight.detach().cpu().float().numpy(), bias


def _conv(graph: Builder, value: ir.Value, weight: np.ndarray, bias: np.ndarray | None, like: nn.Conv2d) -> ir.Value:
    """A convolution with the stride, padding and dilation of ``like``."""
    pad_y, pad_x = (int(pad) for pad in like.padding)
    inputs = [value, graph.constant(weight), *(() if bias is None else (graph.constant(bias),))]
    return graph.op("Conv", *inputs, pads=(pad_y, pad_x, pad_y, pad_x), strides=like.stride, dilations=like.dilation)
