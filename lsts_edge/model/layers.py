"""Convolutions with TensorFlow's padding, and batch norm whose statistics stay as they were learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.presets import ConvLayer

__all__ = ["ConvStack", "FrozenBatchNorm2d", "SamePadConv2d"]


class FrozenBatchNorm2d(nn.Module):
    """``(x - running_mean) / sqrt(running_var + eps) * weight + bias``; never updates its statistics.

    Video batches are small and strongly correlated, so their statistics would spoil the pretrained ones.
    Attribute names are those of ``nn.BatchNorm2d``, for folding into the convolution before.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` normalised by the stored statistics."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class SamePadConv2d(nn.Conv2d):
    """Convolution to ``ceil(size / stride)`` cells, the odd row or column of padding at the bottom or right.

    That is TensorFlow's ``SAME`` rule; torch pads both sides alike, which shifts a strided layer by half a step.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        vertical = self._padding(x.shape[2], 0)
        horizontal = self._padding(x.shape[3], 1)
        if vertical[0] == vertical[1] and horizontal[0] == horizontal[1]:
            padding = (vertical[0], horizontal[0])
        else:
            x = F.pad(x, (*horizontal, *vertical))
            padding = (0, 0)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        stride = self.stride[axis]
        reach = (self.kernel_size[axis] - 1) * self.dilation[axis]
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        return total // 2, total - total // 2


class ConvStack(nn.Module):
    """Convolutions with bias, one after the other, with or without a ReLU between them and none after the last.

    Args:
        in_channels: channels of the input.
        layers: the convolutions; each is padded to keep the size (before its stride).
        relu: put a ReLU between two layers.
    """

    def __init__(self, in_channels: int, layers: tuple[ConvLayer, ...], *, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.layers = nn.ModuleList()
        for layer in layers:
            pad = layer.kernel // 2
            self.layers.append(nn.Conv2d(in_channels, layer.channels, layer.kernel, layer.stride, pad))
            in_channels = layer.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in, H, W)`` through every layer."""
        for index, layer in enumerate(self.layers):
            if index and self.relu:
                x = F.relu(x)
            x = layer(x)
        return x
