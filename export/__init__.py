"""Writes a network, or somebody's detector, as ONNX graphs: subgraphs, joined graphs and how they run.

Nothing is imported here: wrapping a detector needs neither torch nor what our own networks are written with.
"""

from __future__ import annotations

__all__: list[str] = []
