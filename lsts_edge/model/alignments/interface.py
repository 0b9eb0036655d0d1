"""The one interface of everything that aligns a memory feature to the current frame."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch

__all__ = ["Alignment", "Compared"]

Compared = Literal["embeddings", "pictures", "nothing"]


@runtime_checkable
class Alignment(Protocol):
    """Moves a memory feature; a module without state from frame to frame.

    Attributes:
        compares: what it finds the motion by. ``embeddings`` ``(N, E, h, w)`` of the two features; ``pictures``
            ``(N, 3, H / 2, W / 2)``, BGR on the 0..1 scale, of their frames; or ``nothing``, None twice.
    """

    compares: ClassVar[Compared]

    def __call__(self, memory: torch.Tensor, old: torch.Tensor | None, new: torch.Tensor | None) -> torch.Tensor:
        """Move the memory.

        Args:
            memory: ``(N, C, h, w)``.
            old: what is compared of the memory's frame.
            new: the same of the current frame.

        Returns:
            ``(N, C, h, w)``.
        """
        ...
