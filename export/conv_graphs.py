"""The image subgraphs, heavy and light: traced by torch in one go and then cut apart."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.fold import fold_batch_norms
from lsts_edge.export.graph import IR_VERSION, OPSET, finished
from lsts_edge.export.quiet import quiet
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.presets import ModelPreset

__all__ = ["conv_graphs", "feature_shape"]


def feature_shape(preset: ModelPreset) -> tuple[int, int, int, int]:
    """``(1, C, h, w)`` of the features at the preset's input size."""
    size, stride = preset.input, preset.backbone.stride
    return (1, preset.backbone.feature_channels, -(-size.height_px // stride), -(-size.width_px // stride))


def conv_graphs(network: VideoNetwork) -> dict[str, onnx.ModelProto]:
    """``heavy`` (``image -> feature``) and, with LSTS, ``light`` (``image -> high``).

    They take ``image`` ``(1, H, W, 3)`` uint8 BGR and hold the normalisation; batch norms are folded. torch's exporter
    has a fixed cost of about a second a call, so both are traced in one call, each on an image of its own.

    Raises:
        ExportError: if torch cannot express a layer in ONNX.
    """
    parts = {"heavy": "feature"} if network.preset.lsts is None else {"heavy": "feature", "light": "high"}
    traced = _trace(fold_batch_norms(network), parts)
    return {part: _cut(traced, part, output) for part, output in parts.items()}


class _Parts(nn.Module):
    """Runs each method of the network on an image of its own."""

    def __init__(self, network: VideoNetwork, parts: dict[str, str]) -> None:
        super().__init__()
        self.network = network
        self.normalize = Normalize(network.preset.input)
        self.register_buffer("reversed", torch.tensor((2, 1, 0)))
        self.scaled = any(std != 1 for std in network.preset.input.std)
        self.parts = tuple(parts)

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pairs = zip(self.parts, images, strict=True)
        return tuple(getattr(self.network, part)(self.normalized(image)) for part, image in pairs)

    def normalized(self, image: torch.Tensor) -> torch.Tensor:
        """What ``Normalize`` computes, but axes and channels are reordered while they are still bytes."""
        planes = image.permute(0, 3, 1, 2)
        if self.normalize.swap:
            planes = planes.index_select(1, self.get_buffer("reversed"))
        shifted = planes.to(torch.float32) - self.normalize.mean
        return shifted / self.normalize.std if self.scaled else shifted


def _trace(network: VideoNetwork, parts: dict[str, str]) -> ir.Model:
    size = network.preset.input
    shape = (1, size.height_px, size.width_px, 3)
    try:
        with quiet(), _uncollected(), torch.no_grad():
            program = torch.onnx.export(
                _Parts(network, parts).eval(),
                tuple(torch.zeros(shape, dtype=torch.uint8) for _ in parts),
                dynamo=True,
                opset_version=OPSET,
                input_names=[f"{part}/image" for part in parts],
                output_names=[f"{part}/{output}" for part, output in parts.items()],
                external_data=False,
                verbose=False,
                optimize=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            "torch cannot write the network as ONNX",
            got=re.sub(r"\s+", " ", str(error.__cause__ or error))[:300],
            expected=f"layers that opset {OPSET} has",
            fix="Write the layer in plain convolutions and activations.",
        ) from error
    assert program is not None
    return program.model


def _cut(traced: ir.Model, part: str, output: str) -> onnx.ModelProto:
    graph = ir.convenience.extract(traced.graph, [f"{part}/image"], [f"{part}/{output}"])
    graph.name = part
    graph.inputs[0].name, graph.outputs[0].name = "image", output
    return finished(ir.to_proto(ir.Model(graph, ir_version=IR_VERSION)))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from the exporter.

    It makes half a million small objects at once; looking through them for cycles takes a sixth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
