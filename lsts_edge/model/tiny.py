"""A backbone of a few thousand parameters with every part a real one has: for tests, faults and soaks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.model.layers import FrozenBatchNorm2d

__all__ = ["TinyBackbone"]


class TinyBackbone(nn.Module):
    """Three strided convolutions (one with batch norm) to stride 8, then two to stride 16."""

    low_stride = 8
    stride = 16

    def __init__(self, low_channels: int = 16, feature_channels: int = 32) -> None:
        super().__init__()
        self.low_channels = low_channels
        self.feature_channels = feature_channels
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, low_channels, 3, 2, 1)
        self.conv3 = nn.Conv2d(low_channels, low_channels, 3, 2, 1)
        self.conv4 = nn.Conv2d(low_channels, feature_channels, 3, 2, 1)
        self.feature = nn.Conv2d(feature_channels, feature_channels, 3, 1, 2, 2)

    def low(self, image: torch.Tensor) -> torch.Tensor:
        """Image to ``low_channels`` at stride 8, before its ReLU."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.conv2(x))
        output: torch.Tensor = self.conv3(x)
        return output

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        """Low-level feature to the keyframe feature F, rectified."""
        return F.relu(self.feature(F.relu(self.conv4(F.relu(low)))))

    def low_parameters(self) -> Iterator[nn.Parameter]:
        """Of the first three convolutions and the batch norm."""
        for part in (self.conv1, self.bn1, self.conv2, self.conv3):
            yield from part.parameters()

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """The feature convolution: classifiers have none."""
        return self.feature.parameters()
