"""The subgraphs of a network that aligns otherwise than LSTS: MatchTrans, Non-Local, warping by a flow network."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from lsts_edge.export.graph import Builder
from lsts_edge.export.rival_graphs import match_trans_graph, non_local_graph
from lsts_edge.export.shapes import Shape, image_shape, largest_map, sizes_of
from lsts_edge.export.trace import trace
from lsts_edge.model.network import VideoNetwork
from lsts_edge.presets import ModelPreset

__all__ = ["alignment_graphs"]

_CURRENT = {"key": "feature_embedding", "current": "high_embedding"}


def alignment_graphs(network: VideoNetwork, shape: Shape) -> dict[str, onnx.ModelProto]:
    """``align_current``, with SRFU ``align_key``, and for pictures ``shrink``; none for LSTS, ``copy`` and ``none``.

    Args:
        network: in evaluation mode.
        shape: ``(1, C, H, W)`` of the features.
    """
    preset = network.preset
    if preset.lsts is None or preset.samples or preset.alignment in ("copy", "none"):
        return {}
    which = ("key", "current") if preset.srfu != "off" else ("current",)
    if preset.alignment == "flow-warp-net":
        return {"shrink": _shrink(preset), **{f"align_{name}": _flow(network, shape, name) for name in which}}
    embedding = (1, preset.lsts.embedding_channels, *shape[2:])
    if preset.alignment == "non-local":
        return {f"align_{name}": non_local_graph(_CURRENT[name], embedding, shape) for name in which}
    normalization = preset.lsts.normalization
    most = largest_map(preset)
    return {f"align_{name}": match_trans_graph(_CURRENT[name], embedding, shape, normalization, most) for name in which}


def _picture_shape(preset: ModelPreset) -> tuple[int, ...]:
    return (1, 3, -(-preset.input.height_px // 2), -(-preset.input.width_px // 2))


def _shrink(preset: ModelPreset) -> onnx.ModelProto:
    """``VideoNetwork.picture`` of the bytes."""
    graph, size = Builder("shrink"), preset.input
    image = graph.input("image", image_shape(size), "uint8")
    pixels = graph.op("Cast", graph.op("Transpose", image, perm=(0, 3, 1, 2)), to=int(onnx.TensorProto.FLOAT))
    odd = (size.height_px % 2, size.width_px % 2)
    if any(odd):
        pixels = graph.op("Pad", pixels, graph.ints(0, 0, 0, 0, 0, 0, *odd), mode="edge")
    pixels = graph.op("AveragePool", pixels, kernel_shape=(2, 2), strides=(2, 2))
    picture = graph.op("Mul", pixels, graph.constant(np.float32(1 / 255)))
    return graph.build({"picture": (picture, _picture_shape(preset), "float32")})


class _Flow(nn.Module):
    def __init__(self, alignment: nn.Module, hands_on: bool) -> None:
        super().__init__()
        self.alignment, self.hands_on = alignment, hands_on

    def forward(self, memory: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, ...]:
        aligned: torch.Tensor = self.alignment(memory, old, new)
        return (aligned, new * 1.0) if self.hands_on else (aligned,)


def _flow(network: VideoNetwork, shape: Shape, which: str) -> onnx.ModelProto:
    """memory, picture, new_picture -> aligned, and at keyframes the new picture handed on."""
    assert network.alignment is not None
    hands_on = which == "key"
    pictures = (torch.zeros(_picture_shape(network.preset)), torch.zeros(_picture_shape(network.preset)))
    outputs = ["aligned", "next_picture"] if hands_on else ["aligned"]
    module = _Flow(network.alignment, hands_on)
    inputs = (torch.zeros(sizes_of(shape)), *pictures)
    return trace(f"align_{which}", module, inputs, ["memory", "picture", "new_picture"], outputs)
