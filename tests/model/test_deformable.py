"""Deformable convolution against torchvision's kernel, against plain loops in float64, and as an exported graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from export_engines import Run, run_onnxruntime, run_openvino
from torch import nn

from lsts_edge.errors import OptionError
from lsts_edge.export.conv_graphs import conv_graphs
from lsts_edge.export.trace import trace
from lsts_edge.model import VideoNetwork, build_network
from lsts_edge.model.counts import multiply_adds, total_parameters
from lsts_edge.model.deformable import DeformableConv2d
from lsts_edge.model.layers import FrozenBatchNorm2d
from lsts_edge.model.network import Normalize
from lsts_edge.model.tiny import TinyBackbone
from lsts_edge.presets import get_preset
from lsts_edge.variants import varied

TORCHVISION = Path(__file__).parents[1] / "data" / "deform_conv2d_torchvision_0.28.0.npz"
R101 = get_preset("lsts-r101")


@pytest.mark.parametrize("case", [0, 1, 2])
def test_it_is_torchvision_s(case: int) -> None:
    """Recorded outputs of ``torchvision.ops.deform_conv2d`` on the CPU; a seventh of the offsets are whole numbers."""
    with np.load(TORCHVISION) as file:
        x, offsets, weight, wanted = (
            torch.from_numpy(file[f"{name}_{case}"]) for name in ("x", "offsets", "weight", "output")
        )
        dilation, groups = file[f"dilation_groups_{case}"].tolist()
    conv = DeformableConv2d(x.shape[1], len(weight), dilation=dilation, offset_groups=groups)
    conv.weight = nn.Parameter(weight)
    with torch.no_grad():
        got = conv.sampled(x, offsets)
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 2e-6


def _at(plane: np.ndarray, y: float, x: float) -> float:
    total, top, left = 0.0, int(np.floor(y)), int(np.floor(x))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (5, 2)])
def test_it_reads_where_its_offsets_say(size: tuple[int, int]) -> None:
    random = np.random.RandomState(1)
    x, weight = random.standard_normal((1, 4, *size)), random.standard_normal((2, 4, 3, 3))
    offsets = random.standard_normal((1, 2 * 2 * 9, *size)) * 2
    wanted = np.zeros((2, *size))
    moves = offsets.reshape(2, 9, 2, *size)
    for out, row, column, channel, tap in np.ndindex(2, *size, 4, 9):
        dy, dx = moves[channel // 2, tap, :, row, column]
        value = _at(x[0, channel], row + 2 * (tap // 3 - 1) + dy, column + 2 * (tap % 3 - 1) + dx)
        wanted[out, row, column] += weight[out, channel, tap // 3, tap % 3] * value
    conv = DeformableConv2d(4, 2, dilation=2, offset_groups=2)
    conv.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))
    got = conv.sampled(*(torch.from_numpy(array.astype(np.float32)) for array in (x, offsets)))
    np.testing.assert_allclose(got.detach().numpy()[0], wanted, atol=2e-5)


def test_without_offsets_it_is_a_convolution_and_offsets_learn() -> None:
    conv = DeformableConv2d(8, 6, dilation=2)
    nn.init.zeros_(conv.offset.weight)
    nn.init.zeros_(conv.offset.bias)
    x = torch.randn(2, 8, 7, 5)
    plain = nn.functional.conv2d(x, conv.weight, None, 1, 2, 2)
    torch.testing.assert_close(conv(x), plain, atol=1e-5, rtol=1e-5)
    conv(x).square().sum().backward()
    assert conv.offset.weight.grad is not None and conv.offset.weight.grad.abs().sum() > 0
    with pytest.raises(OptionError, match="equal groups"):
        DeformableConv2d(6, 6)


def test_the_variant_adds_what_the_paper_says() -> None:
    """64.5 -> 65.5 million: three offset convolutions of 512 -> 72 channels, 0.995 million."""
    deformable = varied(R101, {"deformable": True})
    assert total_parameters(deformable) - total_parameters(R101) == 3 * (9 * 512 * 72 + 72) == 995_544
    before, after = multiply_adds(R101), multiply_adds(deformable)
    assert after["heavy"] - before["heavy"] == 3 * 38 * 63 * 9 * 512 * 72 and after["light"] == before["light"]
    names = set(build_network(deformable.resized(64, 96)).state_dict())
    assert "backbone.conv5.2.conv_b.offset.weight" in names and "backbone.conv4.0.conv_b.offset.weight" not in names


class _Deformed(TinyBackbone):
    """With a batch norm behind the deformable convolution, as in ResNet-101."""

    def __init__(self) -> None:
        super().__init__(16, 32)
        self.deformed = DeformableConv2d(32, 32, dilation=2)
        self.bn = FrozenBatchNorm2d(32)

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        return self.bn(self.deformed(super().rest(low))).relu()


@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino], ids=["onnxruntime", "openvino"])
def test_the_graph_is_of_standard_operators(run: Run) -> None:
    network = VideoNetwork(get_preset("lsts-tiny").resized(61, 93), backbone=_Deformed()).eval()
    nn.init.normal_(network.backbone.deformed.offset.weight, std=0.3)
    network.backbone.bn.running_mean.normal_()
    graph = conv_graphs(network)["heavy"]
    assert {"GridSample", "Conv"} <= {node.op_type for node in graph.graph.node}
    assert {entry.domain for entry in graph.opset_import} == {""}
    image = torch.randint(0, 256, (1, 61, 93, 3), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network.heavy(Normalize(network.preset.input)(image)).numpy()
    got = run(graph, {"image": image.numpy()})["feature"]
    assert np.abs(got - wanted).max() / np.abs(wanted).max() < 1e-5


@pytest.mark.slow
def test_the_paper_s_stage_as_a_graph() -> None:
    """512 channels on 38 x 63 cells, four groups, dilation 2."""
    conv = DeformableConv2d(512, 512, dilation=2)
    nn.init.normal_(conv.offset.weight, std=0.02)
    x = torch.randn(1, 512, 38, 63)
    graph = trace("deformable", conv, (x,), ["x"], ["y"])
    with torch.no_grad():
        wanted = conv(x).numpy()
    got = run_onnxruntime(graph, {"x": x.numpy()})["y"]
    assert np.abs(got - wanted).max() / np.abs(wanted).max() < 1e-5
