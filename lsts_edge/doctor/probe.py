"""Graphs so small that every engine should run them, their inputs, and what must come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lsts_edge.opspec import LSTS, lsts_reference

__all__ = ["EMBEDDING_SHAPE", "GRAPHS", "MEMORY_SHAPE", "OFFSETS", "graph_path", "probe_error", "probe_feeds"]

GRAPHS = ("taps", "gridsample", "custom")
"""LSTS in each of its forms. ``taps`` is standard operators only; ``custom``, the last, is one node of our library."""

OFFSETS = np.array([[0.0, 0.0], [1.25, -0.5], [-2.0, 0.75]], np.float32)  # whole, between cells, outside at the edge
MEMORY_SHAPE, EMBEDDING_SHAPE = (1, 8, 6, 6), (1, 4, 6, 6)

_FOLDER = Path(__file__).resolve().parents[1] / "data" / "doctor"


def graph_path(name: str) -> Path:
    """The ONNX file of a graph; ``lsts_edge.export`` wrote it, a test holds it to that."""
    return _FOLDER / f"lsts.{name}.onnx"


def probe_feeds() -> dict[str, np.ndarray]:
    """Inputs by name, from a fixed seed."""
    random = np.random.RandomState(0)
    shapes = {"memory": MEMORY_SHAPE, "memory_embedding": EMBEDDING_SHAPE, "current_embedding": EMBEDDING_SHAPE}
    return {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def probe_error(aligned: np.ndarray) -> str:
    """What is wrong with an engine's answer to ``probe_feeds``; empty where it is right."""
    feeds = probe_feeds()
    wanted, _ = lsts_reference(feeds["memory_embedding"], feeds["current_embedding"], feeds["memory"], OFFSETS)
    if aligned.shape != wanted.shape:
        return f"an answer of shape {aligned.shape}, not {wanted.shape}"
    error, allowed = float(np.abs(aligned - wanted).max()), 10 * LSTS.allowed_error("float32")
    return "" if error <= allowed else f"wrong numbers: off by {error:.1e}, allowed {allowed:.0e}"
