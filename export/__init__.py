"""Writes a network as ONNX graphs: subgraphs, joined graphs and the manifest that says how they run."""

from __future__ import annotations

from lsts_edge.export.lsts_graph import LSTS_FORMS, lsts_graph

__all__ = ["LSTS_FORMS", "lsts_graph"]
