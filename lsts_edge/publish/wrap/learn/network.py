"""What is learnt between keyframes: Transform, embeddings, sampling offsets and gates around a frozen detector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.model.lsts import lsts_align
from lsts_edge.publish.wrap.learn.frozen import Tap
from lsts_edge.publish.wrap.learn.layout import DenseLayout
from lsts_edge.publish.wrap.learn.options import LearnOptions

__all__ = ["LearntPropagation", "Maps"]

Maps = list[torch.Tensor]

_CALM = 0.2  # logits into convolutions
_OPEN, _SHUT = 4.0, -3.0  # gates at the start: the memory passes, what the half-size network says hardly
_START = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)] + [(2, 0), (-2, 0), (0, 2), (0, -2)]


class LearntPropagation(nn.Module):
    """From the memory and the half-size picture to this frame's maps, level by level.

    Args:
        layout: of the detector's table.
        taps: features of the frozen network on the half-size picture; one for each level, perhaps one more.
        options: sizes.
    """

    def __init__(self, layout: DenseLayout, taps: Sequence[Tap], options: LearnOptions) -> None:
        super().__init__()
        levels = len(layout.spec.strides)
        generator = torch.Generator().manual_seed(options.seed)
        wide = [options.width, *[options.width * 4 // 3] * (levels - 1)]
        self.levels = levels
        self.transform = _Transform(layout.width, [tap.shape[0] for tap in taps], wide)
        self.embeddings = nn.ModuleList(
            _point(tap.shape[0], min(options.embedding, tap.shape[0])) for tap in taps[:levels]
        )
        self.log_temperature = nn.Parameter(torch.full((levels,), math.log(20.0)))
        start = torch.tensor(_START[: options.locations], dtype=torch.float32)
        more = torch.randn(max(0, options.locations - len(start)), 2, generator=generator) * 2
        self.offsets = nn.ParameterList(
            nn.Parameter(torch.cat((start, more)), requires_grad=options.learn_offsets) for _ in range(levels)
        )
        self.aggregation = nn.ModuleList(
            _Aggregation(layout, channels, light=level > 0) for level, channels in enumerate(wide)
        )

    @torch.no_grad()
    def whiten(self, statistics: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Start the embeddings so that they tell places apart.

        Args:
            statistics: mean ``(C,)`` and covariance ``(C, C)`` of each level's feature.
        """
        for layer, (mean, covariance) in zip(self.embeddings, statistics, strict=True):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            deviation = np.sqrt(np.diag(covariance)) + 1e-6
            _, vectors = np.linalg.eigh(covariance / deviation[:, None] / deviation[None])
            rows = vectors[:, ::-1][:, : layer.out_channels].T / deviation[None]
            layer.weight.copy_(torch.tensor(rows.copy())[:, :, None, None])
            layer.bias.copy_(torch.tensor(-(rows @ mean)))

    def read(self, features: Maps, light: Maps) -> tuple[Maps, Maps]:
        """What a picture gives: a transformed feature and an embedding for each level.

        Args:
            features: of the half-size picture, the finest first.
            light: maps of the half-size picture.
        """
        embedded = [
            F.normalize(layer(feature), dim=1) * (self.log_temperature[level] / 2).exp()
            for level, (layer, feature) in enumerate(zip(self.embeddings, features, strict=False))
        ]
        return self.transform(features, light), embedded

    def align(self, level: int, memory: torch.Tensor, then: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """LSTS: the memory of a level moved to where the frame shows it."""
        return lsts_align(then, now, memory, self.offsets[level])[0]

    def join(self, transformed: Maps, aligned: Maps, light: Maps) -> Maps:
        """This frame's maps."""
        return [
            layer(transformed[level], aligned[level], None if level == 0 else light[level - 1])
            for level, layer in enumerate(self.aggregation)
        ]

    def unroll(self, memory: Maps, pictures: Sequence[tuple[Maps, Maps]]) -> list[Maps]:
        """Maps of the frames after a keyframe, each from the one before.

        Args:
            memory: the keyframe's maps.
            pictures: features and light maps of the keyframe and of the frames after it.
        """
        _, then = self.read(*pictures[0])
        found = []
        for features, light in pictures[1:]:
            transformed, now = self.read(features, light)
            aligned = [self.align(level, memory[level], then[level], now[level]) for level in range(self.levels)]
            memory, then = self.join(transformed, aligned, light), now
            found.append(memory)
        return found


class _Transform(nn.Module):
    """Coarse to fine over the levels' grids: frozen features, and what the half-size network says one level coarser."""

    def __init__(self, numbers: int, features: Sequence[int], wide: Sequence[int]) -> None:
        super().__init__()
        levels = len(wide)
        self.features = nn.ModuleList(_point(count, out) for count, out in zip(features, wide, strict=False))
        self.light = nn.ModuleList(_point(numbers, wide[level + 1], bias=False) for level in range(levels - 1))
        self.coarsest = _point(numbers, wide[-1], bias=False)
        self.beyond = _point(features[levels], wide[-1], bias=False) if len(features) > levels else None
        self.down = nn.ModuleList(_point(wide[level + 1], wide[level], bias=False) for level in range(levels - 1))
        self.blocks = nn.ModuleList(_Block(out, 3 if level == 0 else 5) for level, out in enumerate(wide))

    def forward(self, features: Maps, light: Maps) -> Maps:
        last = len(self.blocks) - 1
        found: Maps = []
        for level in range(last, -1, -1):
            value = self.features[level](features[level])
            if level:
                value = value + self.light[level - 1](light[level - 1] * _CALM)
            if level == last:
                coarse = self.coarsest(light[last] * _CALM)
                if self.beyond is not None:
                    coarse = coarse + self.beyond(features[last + 1])
                value = value + _larger(coarse)
            else:
                value = value + _larger(self.down[level](found[0]))
            found.insert(0, self.blocks[level](F.silu(value)))
        return found


class _Aggregation(nn.Module):
    """A correction, and how far memory and half-size maps are believed, by group of channels."""

    def __init__(self, layout: DenseLayout, channels: int, *, light: bool) -> None:
        super().__init__()
        self.groups, self.numbers = layout.groups, layout.width
        self.of_feature = _point(channels, channels)
        self.of_memory = _point(layout.width, channels, bias=False)
        self.of_light = _point(layout.width, channels, bias=False) if light else None
        self.block = _Block(channels, 5)
        count = len(self.groups)
        self.out = _point(channels, layout.width + count * (1 + light))
        nn.init.zeros_(self.out.weight)
        bias = torch.zeros(self.out.out_channels)
        bias[layout.width : layout.width + count] = _OPEN
        bias[layout.width + count :] = _SHUT
        self.out.bias = nn.Parameter(bias)

    def forward(self, feature: torch.Tensor, memory: torch.Tensor, light: torch.Tensor | None) -> torch.Tensor:
        hidden = self.of_feature(feature) + self.of_memory(memory * _CALM)
        if light is not None and self.of_light is not None:
            hidden = hidden + self.of_light(light * _CALM)
        out = self.out(self.block(F.silu(hidden)))
        gates = out[:, self.numbers :].sigmoid()
        result: torch.Tensor = out[:, : self.numbers] + memory * self._spread(gates[:, : len(self.groups)])
        if light is not None:
            result = result + light * self._spread(gates[:, len(self.groups) :])
        return result

    def _spread(self, gates: torch.Tensor) -> torch.Tensor:
        """A gate for each channel of its group."""
        parts = [gates[:, index : index + 1].expand(-1, size, -1, -1) for index, size in enumerate(self.groups)]
        return torch.cat(parts, dim=1)


class _Block(nn.Module):
    """A depthwise convolution and a pointwise one beside the identity."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.pointwise = _point(channels, channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.pointwise(F.silu(self.depthwise(value)))
        return value + F.silu(moved)


def _point(channels_in: int, channels_out: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 1, bias=bias)


def _larger(value: torch.Tensor) -> torch.Tensor:
    return F.interpolate(value, scale_factor=2.0, mode="nearest")
