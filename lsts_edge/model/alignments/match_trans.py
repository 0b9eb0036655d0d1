"""MatchTrans: the fixed window of 9 x 9 cells around each position, blended by how well they match."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from lsts_edge.model.alignments.interface import Compared
from lsts_edge.model.lsts import lsts_align

__all__ = ["RADIUS_CELLS", "MatchTrans", "window_offsets"]

RADIUS_CELLS = 4
"""LSTS paper, section 4.4: "just like MatchTrans module with the neighbourhoods are set to 4"."""


def window_offsets(radius_cells: int = RADIUS_CELLS) -> torch.Tensor:
    """``((2 r + 1)^2, 2)`` float32, every ``(x, y)`` of the window, row by row."""
    side = torch.arange(-radius_cells, radius_cells + 1, dtype=torch.float32, device="cpu")
    y, x = torch.meshgrid(side, side, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1)


class MatchTrans(nn.Module):
    """Of STMN (Xiao and Lee, ECCV 2018): LSTS whose locations are the window's cells and never move.

    As in the paper's Table 3 it has the framework's embeddings; the weights are normalised as LSTS's are (softmax,
    where STMN divides by the sum: ``normalization="linear"``). Cells outside the map count as zero.
    """

    compares: ClassVar[Compared] = "embeddings"

    def __init__(self, normalization: Literal["softmax", "linear"] = "softmax") -> None:
        super().__init__()
        self.normalization: Literal["softmax", "linear"] = normalization

    def forward(
        self, memory: torch.Tensor, memory_embedding: torch.Tensor, current_embedding: torch.Tensor
    ) -> torch.Tensor:
        """``(N, C, h, w)``; see ``Alignment``."""
        offsets = window_offsets().to(memory.device)
        return lsts_align(memory_embedding, current_embedding, memory, offsets, self.normalization)[0]
