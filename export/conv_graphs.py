"""The image subgraphs, heavy and light: traced by torch in one go and then cut apart."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import nn

from lsts_edge.export.finished import IR_VERSION, finished
from lsts_edge.export.fold import fold_batch_norms
from lsts_edge.export.shapes import Shape, feature_shape, image_shape
from lsts_edge.export.trace import traced
from lsts_edge.model.network import VideoNetwork
from lsts_edge.presets import InputPreset, ModelPreset

__all__ = ["conv_graphs"]


def conv_graphs(network: VideoNetwork) -> dict[str, onnx.ModelProto]:
    """``heavy`` (``image -> feature``) and, where frames between keyframes see, ``light`` (``image -> high``).

    They take ``image`` ``(1, H, W, 3)`` uint8 BGR and hold the normalisation; batch norms are folded. torch's exporter
    has a fixed cost of about a second a call, so both are traced in one call, each on an image of its own.

    Where the size follows the video, the trace at one size serves for all: on whole cells every convolution pads alike,
    and nothing else in a path knows sizes. Deformable convolutions and a light path at half scale do: those are traced
    with open sizes.

    Raises:
        ExportError: if torch cannot express a layer in ONNX.
    """
    preset = network.preset
    parts = {"heavy": "feature", "light": "high"} if preset.sees else {"heavy": "feature"}
    halves = {"heavy": False, "light": preset.light_scale == 0.5}
    traced = _trace(fold_batch_norms(network), parts)
    shape = feature_shape(preset)
    return {part: _cut(traced, part, output, shape, preset.input, halves[part]) for part, output in parts.items()}


class _Parts(nn.Module):
    """Runs each path of the network on an image of its own, normalised and at the path's scale."""

    def __init__(self, network: VideoNetwork, parts: dict[str, str]) -> None:
        super().__init__()
        self.methods = [{"heavy": network.heavy, "light": network.light_of}[part] for part in parts]
        self.network = network

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(method(image) for method, image in zip(self.methods, images, strict=True))


def _trace(network: VideoNetwork, parts: dict[str, str]) -> ir.Model:
    preset = network.preset
    image = torch.zeros(1, 3, *preset.input.image_px)
    images = {"heavy": image, "light": network.shrink(image)}
    return traced(
        _Parts(network, parts).eval(),
        tuple(images[part].clone() for part in parts),
        [f"{part}/image" for part in parts],
        [f"{part}/{output}" for part, output in parts.items()],
        _open_cells(preset, tuple(parts)),
    )


def _open_cells(preset: ModelPreset, parts: tuple[str, ...]) -> tuple[int, ...]:
    """Pixels of a cell of each part's image, for a trace with open sizes; empty where one size serves."""
    if preset.input.resize != "shorter-side" or (preset.light_scale == 1.0 and not preset.backbone.deformable):
        return ()
    cell_px = preset.input.multiple_px
    return tuple(round(cell_px * (preset.light_scale if part == "light" else 1)) for part in parts)


def _cut(traced: ir.Model, part: str, output: str, shape: Shape, size: InputPreset, halve: bool) -> onnx.ModelProto:
    graph = ir.convenience.extract(traced.graph, [f"{part}/image"], [f"{part}/{output}"])
    graph.name = part
    graph.outputs[0].name, graph.outputs[0].shape = output, ir.Shape(shape)
    _take_pixels(graph, size, halve)
    return finished(ir.to_proto(ir.Model(graph, ir_version=IR_VERSION)))


def _take_pixels(graph: ir.Graph, size: InputPreset, halve: bool) -> None:
    """Put what ``Normalize`` computes before a graph of a normalised input: bytes in, mean out, the rest folded.

    With ``halve`` also ``halved``, before the mean is taken off: that is the same and a quarter of the work.
    Scale and order of the channels go into the weights of the convolutions that read the input. The mean cannot:
    outside the picture is zero, which is the mean. A graph that reads its input otherwise scales and reorders it.
    """
    normalized = graph.inputs[0]
    order = [2, 1, 0] if size.color_order == "rgb" else [0, 1, 2]
    mean, std = (np.array(values, np.float32) for values in (size.mean, size.std))
    image = ir.val("image", dtype=ir.DataType.UINT8, shape=image_shape(size))
    tape = ir.tape.Tape()

    def constant(name: str, values: np.ndarray) -> ir.Value:
        return tape.initializer(ir.tensor(values, name=name), name=name)

    planes = tape.op("Transpose", [image], {"perm": [0, 3, 1, 2]})  # of bytes: a quarter of the floats' traffic
    pixels = tape.op("Cast", [planes], {"to": ir.DataType.FLOAT})
    if halve:
        odd_y, odd_x = (side % 2 for side in size.image_px)
        if odd_y or odd_x:
            pads = constant("odd_edge", np.array([0, 0, 0, 0, 0, 0, odd_y, odd_x]))
            pixels = tape.op("Pad", [pixels, pads], {"mode": "edge"})
        pixels = tape.op("AveragePool", [pixels], {"kernel_shape": [2, 2], "strides": [2, 2]})
    pixels = tape.op("Sub", [pixels, constant("pixel_mean", mean[order].reshape(1, 3, 1, 1))])
    if all(node.op_type == "Conv" and _is_weighted(node) for node in normalized.consumers()):
        for node in normalized.consumers():
            _, weight = node.inputs[:2]
            assert weight is not None and weight.const_value is not None
            folded = (weight.const_value.numpy() / std.reshape(1, 3, 1, 1))[:, order]
            name = f"{weight.name}_of_pixels"
            node.replace_input_with(1, constant(name, np.ascontiguousarray(folded, np.float32)))
    else:
        pixels = tape.op("Gather", [pixels, constant("pixel_order", np.array(order))], {"axis": 1})
        pixels = tape.op("Div", [pixels, constant("pixel_std", std.reshape(1, 3, 1, 1))])
    normalized.replace_all_uses_with(pixels)
    graph.inputs[0] = image
    graph.insert_before(graph[0], tape.nodes)
    for value in tape.initializers:
        graph.register_initializer(value)
    ir.passes.common.RemoveUnusedNodesPass()(ir.Model(graph, ir_version=IR_VERSION))


def _is_weighted(convolution: ir.Node) -> bool:
    """Whether it has a constant weight over all three channels."""
    weight = convolution.inputs[1]
    return weight is not None and weight.const_value is not None and weight.const_value.shape[1] == 3
