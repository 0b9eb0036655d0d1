"""FlowNet-S as a definition: what DFF's flow network weighs and takes; no trained weights are to be had here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["FlowNetS"]

_SLOPE = 0.1
_SCALE_PX = 20.0  # the network counts in twentieths of a pixel


class FlowNetS(nn.Module):
    """FlowNetSimple (Dosovitskiy et al., ICCV 2015): six strided levels down, four up, flow at a quarter of the size.

    ``forward(old, new)`` takes two pictures ``(N, 3, H, W)`` and gives ``(N, 2, ceil(H / 4), ceil(W / 4))`` in pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = ((6, 64, 7), (64, 128, 5), (128, 256, 5), (256, 512, 3), (512, 512, 3), (512, 1024, 3))
        self.down = nn.ModuleList(nn.Conv2d(i, o, k, 2, k // 2) for i, o, k in widths)
        self.more = nn.ModuleList(nn.Conv2d(o, o, 3, 1, 1) for _, o, _ in widths[2:])
        inputs, outputs = (1024, 1026, 770, 386), (512, 256, 128, 64)
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in zip(inputs, outputs, strict=True))
        self.flow = nn.ModuleList(nn.Conv2d(i, 2, 3, 1, 1) for i in (*inputs, 194))
        self.flow_up = nn.ModuleList(nn.ConvTranspose2d(2, 2, 4, 2, 1) for _ in inputs)

    def forward(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Flow of every fourth pixel."""
        x = torch.cat((new, old), dim=1)
        levels = []
        for index, layer in enumerate(self.down):
            x = F.leaky_relu(layer(x), _SLOPE)
            if index >= 2:
                x = F.leaky_relu(self.more[index - 2](x), _SLOPE)
            levels.append(x)
        flow: torch.Tensor = self.flow[0](x)
        for index in range(4):
            skip = levels[4 - index]
            height, width = skip.shape[2:]
            rising = F.leaky_relu(self.up[index](x), _SLOPE)[:, :, :height, :width]
            x = torch.cat((skip, rising, self.flow_up[index](flow)[:, :, :height, :width]), dim=1)
            flow = self.flow[index + 1](x)
        return flow * _SCALE_PX
