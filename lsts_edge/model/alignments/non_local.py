"""Non-Local: every cell of the current frame looks at every cell of the memory."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from lsts_edge.model.alignments.interface import Compared

__all__ = ["NonLocal"]


class NonLocal(nn.Module):
    """Embedded Gaussian of Wang et al., CVPR 2018, between two frames, with the framework's embeddings.

    ``aligned(p) = sum_q softmax_q(< g(p), f(q) >) F(q)`` over all ``h w`` cells q. Cost and memory are ``(h w)^2``.
    """

    compares: ClassVar[Compared] = "embeddings"

    def forward(
        self, memory: torch.Tensor, memory_embedding: torch.Tensor, current_embedding: torch.Tensor
    ) -> torch.Tensor:
        """``(N, C, h, w)``; see ``Alignment``."""
        weights = (current_embedding.flatten(2).transpose(1, 2) @ memory_embedding.flatten(2)).softmax(dim=2)
        aligned = memory.flatten(2) @ weights.transpose(1, 2)
        return aligned.view_as(memory)
