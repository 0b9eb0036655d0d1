"""EfficientNet-Lite 0, 1 and 2 as video backbones: cut after a stage, the last ones kept at stride 16 by dilation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.errors import OptionError
from lsts_edge.model.layers import FrozenBatchNorm2d, SamePadConv2d

__all__ = ["LITE_VARIANTS", "EfficientNetLite", "InvertedResidual", "LiteVariant"]

_EPS = 1e-3  # of the published weights
_STEM_CHANNELS = 32
_EXPANSION = 6


@dataclass(frozen=True)
class LiteVariant:
    """Channels and block counts of the seven stages, as the published weights have them."""

    channels: tuple[int, int, int, int, int, int, int]
    blocks: tuple[int, int, int, int, int, int, int]


LITE_VARIANTS = {
    "efficientnet-lite0": LiteVariant((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet-lite1": LiteVariant((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet-lite2": LiteVariant((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
_KERNELS = (3, 3, 5, 3, 5, 5, 3)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of each stage's first block, after the stem's 2


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise k x k, 1x1 projection without activation; ReLU6, no squeeze-and-excite."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand: nn.Conv2d | None = None
        self.bn_expand: FrozenBatchNorm2d | None = None
        if expansion != 1:
            self.expand = SamePadConv2d(in_channels, width, 1, bias=False)
            self.bn_expand = FrozenBatchNorm2d(width, _EPS)
        self.depthwise = SamePadConv2d(width, width, kernel, stride, 0, dilation, groups=width, bias=False)
        self.bn_depthwise = FrozenBatchNorm2d(width, _EPS)
        self.project = SamePadConv2d(width, out_channels, 1, bias=False)
        self.bn_project = FrozenBatchNorm2d(out_channels, _EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``, linear."""
        y: torch.Tensor = x
        if self.expand is not None and self.bn_expand is not None:
            y = F.relu6(self.bn_expand(self.expand(y)))
        y = F.relu6(self.bn_depthwise(self.depthwise(y)))
        y = self.bn_project(self.project(y))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """Low part: stem and the first stages. Rest: the other stages, at most stride 16, and a 3x3 feature convolution.

    Where the classifier goes to stride 32 the stride is dropped and the blocks after it are dilated by 2: they
    see the same neighbours as before, at four times the positions.

    Args:
        name: a key of ``LITE_VARIANTS``.
        feature_channels: channels of the feature.
        low_stages: stages of the low part (3: to stride 8; 4: to stride 16).
        stages: how many of the seven stages are kept (5: up to 112 channels, no dilated stage; 7: all).

    Raises:
        OptionError: if ``name``, ``low_stages`` or ``stages`` is not known.
    """

    stride = 16

    def __init__(self, name: str, feature_channels: int, low_stages: int = 3, stages: int = 7) -> None:
        super().__init__()
        if name not in LITE_VARIANTS:
            raise OptionError("unknown EfficientNet-Lite", got=name, expected=", ".join(LITE_VARIANTS), fix="Use one.")
        if not 1 <= low_stages < stages <= len(_KERNELS):
            got = f"{low_stages} of {stages}"
            raise OptionError("backbone stages", got=got, expected="low ones below all, 1..7", fix="Correct them.")
        variant = LITE_VARIANTS[name]
        self.low_channels = variant.channels[low_stages - 1]
        self.low_stride = min(self.stride, 2 * math.prod(_STRIDES[:low_stages]))
        self.feature_channels = feature_channels
        self.stem = SamePadConv2d(3, _STEM_CHANNELS, 3, 2, bias=False)
        self.bn_stem = FrozenBatchNorm2d(_STEM_CHANNELS, _EPS)
        self.low_blocks = nn.ModuleList()
        self.rest_blocks = nn.ModuleList()
        channels, reached, dilation = _STEM_CHANNELS, 2, 1
        for index in range(stages):
            for block in range(variant.blocks[index]):
                stride = _STRIDES[index] if block == 0 else 1
                dropped = stride == 2 and reached == self.stride
                stride = 1 if dropped else stride
                reached *= stride
                target = self.low_blocks if index < low_stages else self.rest_blocks
                target.append(
                    InvertedResidual(
                        channels,
                        variant.channels[index],
                        _KERNELS[index],
                        expansion=1 if index == 0 else _EXPANSION,
                        stride=stride,
                        dilation=dilation,
                    )
                )
                channels = variant.channels[index]
                dilation = 2 if dropped else dilation
        self.feature = nn.Conv2d(channels, feature_channels, 3, 1, 1)

    def low(self, image: torch.Tensor) -> torch.Tensor:
        """Image to the last low stage's output, linear."""
        x = F.relu6(self.bn_stem(self.stem(image)))
        for block in self.low_blocks:
            x = block(x)
        return x

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        """The low part's output to the keyframe feature F, rectified."""
        x = low
        for block in self.rest_blocks:
            x = block(x)
        return F.relu(self.feature(x))

    def low_parameters(self) -> Iterator[nn.Parameter]:
        """Of the stem and the low stages."""
        for part in (self.stem, self.bn_stem, self.low_blocks):
            yield from part.parameters()

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """The feature convolution: classifiers have none."""
        return self.feature.parameters()
