"""Traced image graphs and written aggregation graphs against torch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from export_engines import Run, run_onnxruntime

from lsts_edge.errors import ExportError
from lsts_edge.export import blend_graphs as written_graphs
from lsts_edge.export.blend_graphs import blend_graphs
from lsts_edge.export.conv_graphs import conv_graphs
from lsts_edge.export.fold import fold_batch_norms
from lsts_edge.export.graph import Builder
from lsts_edge.export.shapes import feature_shape
from lsts_edge.model import random_network
from lsts_edge.model.aggregation import Aggregation
from lsts_edge.model.layers import FrozenBatchNorm2d
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.model.tiny import TinyBackbone
from lsts_edge.presets import AggregationPreset, ConvLayer, ModelPreset, get_preset


def _shaken(preset: ModelPreset) -> VideoNetwork:
    """A random network whose batch norms have real statistics."""
    network = random_network(preset, 3)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) * 3 + 0.1)
    return network


def _relative(got: np.ndarray, wanted: torch.Tensor) -> float:
    return float(np.abs(got - wanted.numpy()).max() / wanted.abs().max())


@pytest.mark.parametrize("name", ["lsts-tiny", "lsts-lite"])
def test_image_graphs(name: str) -> None:
    preset = get_preset(name).resized(64, 96)
    network = _shaken(preset)
    graphs = conv_graphs(network)
    for graph in graphs.values():
        kinds = {node.op_type for node in graph.graph.node}
        assert "BatchNormalization" not in kinds
        assert (graph.ir_version, [(entry.domain, entry.version) for entry in graph.opset_import]) == (10, [("", 18)])
    image = torch.randint(0, 256, (1, 64, 96, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    normalized = Normalize(preset.input)(image)
    with torch.no_grad():
        wanted = {"heavy": network.heavy(normalized), "light": network.light(normalized)}
    for part, output in (("heavy", "feature"), ("light", "high")):
        assert _relative(run_onnxruntime(graphs[part], {"image": image.numpy()})[output], wanted[part]) < 1e-5


@pytest.mark.parametrize("size", [(64, 96), (61, 93)])
def test_a_light_path_at_half_size_halves_the_bytes(tiny: ModelPreset, size: tuple[int, int]) -> None:
    input_ = dataclasses.replace(tiny.input, mean=(90.0, 110.0, 140.0), std=(20.0, 50.0, 80.0), color_order="rgb")
    preset = dataclasses.replace(tiny, input=input_, light_scale=0.5).resized(*size)
    network = _shaken(preset)
    graph = conv_graphs(network)["light"]
    image = torch.randint(0, 256, (1, *size, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network.light(Normalize(preset.input)(image))
    assert _relative(run_onnxruntime(graph, {"image": image.numpy()})["high"], wanted) < 1e-5
    kinds = [node.op_type for node in graph.graph.node]
    odd = ["Pad"] if size[0] % 2 else []
    assert kinds[: 4 + len(odd)] == ["Transpose", "Cast", *odd, "AveragePool", "Sub"]


class _Coarse(TinyBackbone):
    """A low part at the feature's stride, as ResNet-101's is: the light path's result has to be brought up."""

    low_stride = 16

    def low(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.max_pool2d(super().low(image), 1, 2)

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        return self.feature(low.repeat(1, 2, 1, 1)).relu()


def test_a_result_on_half_the_grid_is_brought_up(tiny: ModelPreset, run: Run) -> None:
    coarse = dataclasses.replace(tiny.backbone, low_stride=16)
    layers = (ConvLayer(1, 16), ConvLayer(3, 16), ConvLayer(3, 32))
    preset = dataclasses.replace(tiny, backbone=coarse, transform=layers, light_scale=0.5).resized(93, 163)
    torch.manual_seed(2)
    network = VideoNetwork(preset, backbone=_Coarse(16, 32)).eval()
    image = torch.randint(0, 256, (1, 93, 163, 3), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network.light(Normalize(preset.input)(image))
    assert wanted.shape == (1, 32, 6, 11)
    graph = conv_graphs(network)["light"]
    assert _relative(run(graph, {"image": image.numpy()})["high"], wanted) < 1e-5
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("MatMul") == 2 and "Resize" not in kinds


class _Brightened(TinyBackbone):
    def low(self, image: torch.Tensor) -> torch.Tensor:
        return super().low(image) + image.mean()


@pytest.mark.parametrize("color_order", ["bgr", "rgb"])
@pytest.mark.parametrize(("backbone", "folded"), [(TinyBackbone, True), (_Brightened, False)])
def test_scale_and_channel_order_go_into_the_first_weights(
    tiny: ModelPreset, color_order: str, backbone: type[TinyBackbone], folded: bool
) -> None:
    """Where only convolutions read the input; the mean stays outside, for the border's sake."""
    size = dataclasses.replace(tiny.input, color_order=color_order, mean=(90.0, 110.0, 140.0), std=(20.0, 50.0, 80.0))
    preset = _with(tiny, input=size)
    torch.manual_seed(5)
    network = VideoNetwork(preset, backbone=backbone(16, 32)).eval()
    graph = conv_graphs(network)["heavy"]
    image = torch.randint(0, 256, (1, size.height_px, size.width_px, 3), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network.heavy(Normalize(size)(image))
    assert _relative(run_onnxruntime(graph, {"image": image.numpy()})["feature"], wanted) < 1e-5
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds[:3] == ["Transpose", "Cast", "Sub"]
    assert ("Div" not in kinds and "Gather" not in kinds) is folded


def test_nothing_tells_where_it_was_made(tiny: ModelPreset) -> None:
    for graph in conv_graphs(random_network(tiny, 0)).values():
        assert b"site-packages" not in graph.SerializeToString() and b".py" not in graph.SerializeToString()


def test_folding_leaves_the_original_alone(tiny: ModelPreset) -> None:
    network = _shaken(tiny)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_norm_without_convolution_is_refused(tiny: ModelPreset) -> None:
    network = random_network(tiny, 0)
    network.backbone.add_module("stray", FrozenBatchNorm2d(3))
    with pytest.raises(ExportError, match="stray"):
        fold_batch_norms(network)


class _Eigenvalues(TinyBackbone):
    def rest(self, low: torch.Tensor) -> torch.Tensor:
        feature = super().rest(low)
        return feature * torch.linalg.eigvals(feature[:, :1, :3, :3]).real.mean()


def test_an_operator_that_onnx_lacks_is_one_error(tiny: ModelPreset) -> None:
    network = VideoNetwork(tiny, backbone=_Eigenvalues(16, 32)).eval()
    with pytest.raises(ExportError, match="torch cannot write the network"):
        conv_graphs(network)


SHAPE = (1, 32, 5, 3)


def _features(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator) * 3 + 2, torch.randn(SHAPE, generator=generator) * 3 - 1


@pytest.mark.parametrize(
    "layers",
    [
        (ConvLayer(1, 8), ConvLayer(3, 4), ConvLayer(3, 1)),
        (ConvLayer(1, 30), ConvLayer(3, 2), ConvLayer(1, 1)),  # the first two are merged
        (ConvLayer(3, 6), ConvLayer(5, 1)),
    ],
)
@pytest.mark.parametrize("form", ["shared", "shared, taps first", "concat"])
def test_aggregation(
    tiny: ModelPreset, monkeypatch: pytest.MonkeyPatch, layers: tuple[ConvLayer, ...], form: str
) -> None:
    """Large biases: what cancels must cancel at the border too, where padding cuts them off."""
    if form == "shared, taps first":  # even where it costs more
        form = "shared"
        monkeypatch.setattr(written_graphs, "_merged", written_graphs._taps_first)
    preset = _with(tiny, aggregation=AggregationPreset(layers, form))  # type: ignore[arg-type]
    network = random_network(preset, 2)
    for name, parameter in network.named_parameters():
        if "aggregation" in name and name.endswith("bias"):
            parameter.data += 1.5
    graph = blend_graphs(network, SHAPE)["aggregate_current"]
    high, aligned = _features(4)
    with torch.no_grad():
        wanted = network.aggregate_current(high, aligned)
    got = run_onnxruntime(graph, {"high": high.numpy(), "aligned": aligned.numpy()})["task"]
    assert _relative(got, wanted) < 1e-5


def test_merging_saves(tiny: ModelPreset) -> None:
    layers = (ConvLayer(1, 30), ConvLayer(3, 2), ConvLayer(1, 1))
    graph = blend_graphs(random_network(_with(tiny, aggregation=AggregationPreset(layers)), 2), SHAPE)["aggregate_key"]
    assert sum(node.op_type == "Conv" for node in graph.graph.node) == 2


@pytest.mark.parametrize(("name", "channels"), [("lsts-r101", [81, 9, 1]), ("lsts-lite", [64, 16, 1])])
def test_the_score_takes_the_fewest_multiply_adds(name: str, channels: list[int]) -> None:
    preset = get_preset(name)
    graph = Builder("score")
    high = graph.input("high", feature_shape(preset))
    assert preset.aggregation is not None
    stack = Aggregation(preset.backbone.feature_channels, preset.aggregation).stack
    score = written_graphs._score_of_difference(graph, high, list(stack.layers))  # type: ignore[arg-type]
    model = graph.build({"score": (score, (1, 1, *feature_shape(preset)[2:]), "float32")})
    weights = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer}
    assert [weights[node.input[1]] for node in model.graph.node] == channels


def test_recursion_blends_memory(tiny: ModelPreset) -> None:
    network = random_network(_with(tiny, recursion=0.6), 2)
    graphs = blend_graphs(network, feature_shape(tiny))
    random = torch.Generator().manual_seed(0)
    feature, aligned = (torch.randn(feature_shape(tiny), generator=random) for _ in range(2))
    got = run_onnxruntime(graphs["aggregate_key"], {"feature": feature.numpy(), "aligned": aligned.numpy()})
    with torch.no_grad():
        task = network.aggregate_key(feature, aligned)
    assert _relative(got["task"], task) < 1e-5
    assert _relative(got["memory"], 0.6 * task + 0.4 * feature) < 1e-5
    assert set(run_onnxruntime(graphs["start"], {"feature": feature.numpy()})) == {"memory", "task"}


def _with(preset: ModelPreset, **changes: object) -> ModelPreset:
    return dataclasses.replace(preset, **changes)  # type: ignore[arg-type]
