"""The subgraphs made of convolutions, traced by torch in one go and then cut apart."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.fold import fold_batch_norms
from lsts_edge.export.graph import IR_VERSION, OPSET, Builder, finished
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.presets import ModelPreset

__all__ = ["conv_graphs", "feature_shape"]


def feature_shape(preset: ModelPreset) -> tuple[int, int, int, int]:
    """``(1, C, h, w)`` of the features at the preset's input size."""
    size, stride = preset.input, preset.backbone.stride
    return (1, preset.backbone.feature_channels, -(-size.height_px // stride), -(-size.width_px // stride))


def conv_graphs(network: VideoNetwork) -> dict[str, onnx.ModelProto]:
    """Every subgraph but LSTS and the head, by name.

    Image graphs take ``image`` ``(1, H, W, 3)`` uint8 BGR and hold the normalisation; batch norms are folded.
    torch's exporter has a fixed cost of about a second a call, so all parts are traced in one call, each on inputs
    of its own, and cut apart afterwards.

    Raises:
        ExportError: if torch cannot express a layer in ONNX, or a shape is not the preset's.
    """
    parts = _parts(network.preset)
    traced = _trace(fold_batch_norms(network), parts)
    graphs = {name: _cut(traced, name, inputs, outputs) for name, (inputs, outputs) in parts.items()}
    if network.preset.lsts is not None and network.preset.form == "released" and network.preset.recursion != 1.0:
        graphs["start"] = _start(feature_shape(network.preset))
    return graphs


_Parts = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def _parts(preset: ModelPreset) -> _Parts:
    """Graph name -> its inputs and outputs."""
    parts: _Parts = {"heavy": (("image",), ("feature",))}
    if preset.lsts is None:
        return parts
    paper = preset.form == "paper"
    two_memories = not paper and preset.recursion != 1.0
    parts["light"] = (("image",), ("high",))
    parts["embed_key"] = (("memory", "feature"), ("memory_embedding", "feature_embedding"))
    parts["aggregate_key"] = (("feature", "aligned"), ("task", "memory") if two_memories else ("task",))
    if paper:
        parts["aggregate_task"] = (("memory", "feature"), ("task",))
    parts["embed_memory"] = (("task",), ("task_embedding",))
    parts["embed_current"] = (("high",), ("high_embedding",))
    parts["aggregate_current"] = (("high", "aligned"), ("task",))
    return parts


class _AllParts(nn.Module):
    """Runs each part on inputs of its own."""

    def __init__(self, network: VideoNetwork, parts: _Parts) -> None:
        super().__init__()
        self.network = network
        self.normalize = Normalize(network.preset.input)
        self.parts = parts

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = iter(inputs)
        results: list[torch.Tensor] = []
        for name, (wanted, outputs) in self.parts.items():
            arguments = [next(given) for _ in wanted]
            if wanted == ("image",):
                arguments = [self.normalize(arguments[0])]
            made = getattr(self.network, name)(*arguments)
            made = made if isinstance(made, tuple) else (made,)
            if "memory" in outputs:
                made = (*made, self.network.update_memory(made[0], arguments[0]))
            results.extend(made)
        return tuple(results)


def _trace(network: VideoNetwork, parts: _Parts) -> ir.Model:
    size = network.preset.input
    image = (1, size.height_px, size.width_px, 3)
    feature = feature_shape(network.preset)
    names = [f"{part}/{name}" for part, (inputs, _) in parts.items() for name in inputs]
    arguments = tuple(
        torch.zeros(image, dtype=torch.uint8) if name.endswith("/image") else torch.zeros(feature) for name in names
    )
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _AllParts(network, parts).eval(),
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=[f"{part}/{name}" for part, (_, outputs) in parts.items() for name in outputs],
                external_data=False,
                verbose=False,
                optimize=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            "torch cannot write the network as ONNX",
            got=re.sub(r"\s+", " ", str(error))[:300],
            expected=f"layers that opset {OPSET} has",
            fix="Write the layer in plain convolutions and activations.",
        ) from error
    assert program is not None
    return program.model


def _cut(traced: ir.Model, part: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> onnx.ModelProto:
    graph = ir.convenience.extract(traced.graph, [f"{part}/{i}" for i in inputs], [f"{part}/{o}" for o in outputs])
    graph.name = part
    for values, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name
    return finished(ir.to_proto(ir.Model(graph, ir_version=IR_VERSION)))


def _start(shape: tuple[int, int, int, int]) -> onnx.ModelProto:
    """The first feature becomes both states of a memory with r other than 1."""
    graph = Builder("start")
    feature = graph.input("feature", shape)
    outputs = {name: (graph.op("Identity", feature), shape, "float32") for name in ("memory", "task")}
    return graph.build(outputs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter tells of optional packages and of its own insides; none of it is news to the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
