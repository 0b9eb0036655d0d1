"""ResNet-101 as Caffe and the paper's code have it, at feature stride 16, cut after the fourth block of conv4."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.model.deformable import DeformableConv2d
from lsts_edge.model.layers import FrozenBatchNorm2d

__all__ = ["Bottleneck", "ResNet101"]

_LOW_BLOCKS_OF_CONV4 = 4  # up to and with res4b3
_FEATURE_DILATION = 6


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; the stride sits in the first 1x1 (Caffe), not in the 3x3.

    Takes a rectified input and returns the sum **before** its ReLU: the low-level feature is such a sum.
    """

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, dilation: int = 1, deformable: bool = False
    ) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv_a = nn.Conv2d(in_channels, width, 1, stride, bias=False)
        self.bn_a = FrozenBatchNorm2d(width)
        self.conv_b: nn.Conv2d
        if deformable:
            self.conv_b = DeformableConv2d(width, width, dilation=dilation)
        else:
            self.conv_b = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn_b = FrozenBatchNorm2d(width)
        self.conv_c = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn_c = FrozenBatchNorm2d(out_channels)
        self.conv_shortcut: nn.Conv2d | None = None
        self.bn_shortcut: FrozenBatchNorm2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.bn_shortcut = FrozenBatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rectified ``(N, in, H, W)`` to the sum, not yet rectified."""
        shortcut = x
        if self.conv_shortcut is not None and self.bn_shortcut is not None:
            shortcut = self.bn_shortcut(self.conv_shortcut(x))
        x = F.relu(self.bn_a(self.conv_a(x)))
        x = F.relu(self.bn_b(self.conv_b(x)))
        total: torch.Tensor = self.bn_c(self.conv_c(x)) + shortcut
        return total


class ResNet101(nn.Module):
    """The paper's backbone: low part through the sum of ``res4b3``, the rest, and a dilated 3x3 feature convolution.

    Args:
        feature_channels: channels of the feature (1024 in the paper).
        deformable: the 3x3 convolutions of the last stage are, with four groups of offsets (the paper's "+ DCN").
    """

    low_channels = 1024
    low_stride = 16
    stride = 16

    def __init__(self, feature_channels: int = 1024, deformable: bool = False) -> None:
        super().__init__()
        self.feature_channels = feature_channels
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = FrozenBatchNorm2d(64)
        self.conv2 = _stage(64, 64, blocks=3)
        self.conv3 = _stage(256, 128, blocks=4, stride=2)
        self.conv4 = _stage(512, 256, blocks=23, stride=2)
        self.conv5 = _stage(1024, 512, blocks=3, dilation=2, deformable=deformable)
        self.feature = nn.Conv2d(2048, feature_channels, 3, 1, _FEATURE_DILATION, _FEATURE_DILATION)

    def low(self, image: torch.Tensor) -> torch.Tensor:
        """Image to the sum of ``res4b3``, before its ReLU."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.max_pool2d(x, 3, 2, 1)
        *rectified, last = self._low_blocks()
        for block in rectified:
            x = F.relu(block(x))
        total: torch.Tensor = last(x)
        return total

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        """Sum of ``res4b3`` to the keyframe feature F, rectified."""
        x = F.relu(low)
        for block in (*self.conv4[_LOW_BLOCKS_OF_CONV4:], *self.conv5):
            x = F.relu(block(x))
        return F.relu(self.feature(x))

    def low_parameters(self) -> Iterator[nn.Parameter]:
        """Of the first convolution and every block through ``res4b3``."""
        for part in (self.conv1, self.bn1, *self._low_blocks()):
            yield from part.parameters()

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """The feature convolution and the offsets of deformable ones: classifiers have none."""
        yield from self.feature.parameters()
        for module in self.modules():
            if isinstance(module, DeformableConv2d):
                yield from module.offset.parameters()

    def _low_blocks(self) -> tuple[nn.Module, ...]:
        return (*self.conv2, *self.conv3, *self.conv4[:_LOW_BLOCKS_OF_CONV4])


def _stage(
    in_channels: int, width: int, *, blocks: int, stride: int = 1, dilation: int = 1, deformable: bool = False
) -> nn.ModuleList:
    stage = nn.ModuleList([Bottleneck(in_channels, width, stride, dilation, deformable)])
    stage.extend(Bottleneck(4 * width, width, 1, dilation, deformable) for _ in range(blocks - 1))
    return stage
