"""Deformable convolution in operators that every engine has: bilinear samples, then a plain 1x1 convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.errors import OptionError

__all__ = ["DeformableConv2d"]


class DeformableConv2d(nn.Conv2d):
    """Deformable convolution (Dai et al., ICCV 2017): each tap reads where an offset computed from the input puts it.

    ``out(p) = sum_k W_k x(p + tap_k + offset_k(p))``, bilinear, zero outside the map. ``offset`` is a convolution of
    the same shape to ``2 * offset_groups * kernel^2`` channels, ordered by group, tap, and y before x; a group of input
    channels shares its offsets. Stride 1, padded to keep the size.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: side of the kernel, odd.
        dilation: of both convolutions.
        offset_groups: the input's channels are so many equal groups.

    Raises:
        OptionError: if the groups are not equal.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, offset_groups: int = 4
    ) -> None:
        pad = dilation * (kernel // 2)
        super().__init__(in_channels, out_channels, kernel, 1, pad, dilation, bias=False)
        if in_channels % offset_groups:
            got = f"{in_channels} channels in {offset_groups} groups"
            raise OptionError("deformable convolution", got=got, expected="equal groups", fix="Change the groups.")
        self.offset_groups = offset_groups
        self.offset = nn.Conv2d(in_channels, 2 * offset_groups * kernel * kernel, kernel, 1, pad, dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in, H, W)`` to ``(N, out, H, W)``."""
        return self.sampled(x, self.offset(x))

    def sampled(self, x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """The convolution with offsets given, ``(N, 2 * offset_groups * kernel^2, H, W)``."""
        batch, channels, height, width = x.shape
        groups, taps = self.offset_groups, self.kernel_size[0] * self.kernel_size[1]
        place = offsets.view(batch, groups, taps, 2, height, width) + self._places(height, width).to(offsets)
        down, across = place.unbind(3)
        # Sizes stay numbers of the trace, which may be open, and never become a tensor.
        grid = torch.stack(((2 * across + 1) / width - 1, (2 * down + 1) / height - 1), dim=-1)
        grid = grid.reshape(batch * groups, taps * height, width, 2).to(x.dtype)
        planes = x.reshape(batch * groups, channels // groups, height, width)
        samples = F.grid_sample(planes, grid, align_corners=False).view(batch, channels * taps, height, width)
        return F.conv2d(samples, self.weight.flatten(1)[:, :, None, None], self.bias)

    def _places(self, height: int, width: int) -> torch.Tensor:
        """``(1, 1, taps, 2, H, W)``: where each tap reads before it is moved, y before x."""
        kernel, dilation = self.kernel_size[0], int(self.dilation[0])
        rows, columns = torch.arange(height), torch.arange(width)
        tap = (torch.arange(kernel) - kernel // 2) * dilation
        y = (rows[None, :] + tap[:, None])[:, None, :, None].expand(kernel, kernel, height, width)
        x = (columns[None, :] + tap[:, None])[None, :, None, :].expand(kernel, kernel, height, width)
        return torch.stack((y, x), dim=2).reshape(1, 1, kernel * kernel, 2, height, width)
