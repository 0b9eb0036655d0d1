"""What brings a memory feature to where the current frame shows it: LSTS and its rivals behind one interface."""

from __future__ import annotations

from lsts_edge.model.alignments.interface import Alignment
from lsts_edge.model.alignments.make import make_alignment

__all__ = ["Alignment", "make_alignment"]
