"""No motion: the memory stays where it is, the floor that every alignment has to beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from lsts_edge.model.alignments.interface import Compared

__all__ = ["Keep"]


class Keep(nn.Module):
    """The alignment ``copy``."""

    compares: ClassVar[Compared] = "nothing"

    def forward(self, memory: torch.Tensor, old: None = None, new: None = None) -> torch.Tensor:
        """The memory itself."""
        return memory
