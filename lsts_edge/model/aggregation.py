"""Quality-aware blend of two features: at each position, weights that sum to one, broadcast over channels."""

from __future__ import annotations

import torch
from torch import nn

from lsts_edge.errors import OptionError
from lsts_edge.model.layers import ConvStack
from lsts_edge.presets import AggregationPreset

__all__ = ["Aggregation", "Mean"]


class Aggregation(nn.Module):
    """``W_first * first + W_second * second``, ``W_first + W_second = 1`` (Jiang et al., ECCV 2020, Eq. 7 and 8).

    ``shared`` (released code): one stack scores each feature on its own, softmax over the two scores.
    ``concat`` (paper text): one stack scores the concatenation; its single score and zero go through the softmax.

    Args:
        channels: channels of each feature.
        preset: the stack, which ends in one channel, and the form.

    Raises:
        OptionError: if the stack does not end in one channel or has a stride.
    """

    def __init__(self, channels: int, preset: AggregationPreset) -> None:
        super().__init__()
        if not preset.layers or preset.layers[-1].channels != 1 or any(layer.stride != 1 for layer in preset.layers):
            raise OptionError(
                "aggregation layers",
                got=preset.layers,
                expected="one channel last, stride 1",
                fix="Correct the preset's aggregation.",
            )
        self.form = preset.form
        self.stack = ConvStack(channels * (2 if preset.form == "concat" else 1), preset.layers, relu=False)

    def weight_of_first(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """``(N, 1, H, W)`` weight of the first feature; a softmax over two is a sigmoid of their difference."""
        if self.form == "concat":
            score: torch.Tensor = self.stack(torch.cat((first, second), dim=1))
        else:
            score = self.stack(first) - self.stack(second)
        return score.sigmoid()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` twice to the blend, same shape."""
        weight = self.weight_of_first(first, second)
        return weight * first + (1 - weight) * second


class Mean(nn.Module):
    """Half of each: the naive aggregation that Table 2 compares with."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` twice to their mean."""
        return 0.5 * (first + second)
