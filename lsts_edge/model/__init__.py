"""The video detector in PyTorch: networks from presets, the reference loop, checkpoints, exact counts."""

from __future__ import annotations

from lsts_edge.model.build import build_network, random_network
from lsts_edge.model.checkpoint import load_checkpoint, save_checkpoint
from lsts_edge.model.counts import multiply_adds, parameters
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.video_loop import VideoLoop

__all__ = [
    "VideoLoop",
    "VideoNetwork",
    "build_network",
    "load_checkpoint",
    "multiply_adds",
    "parameters",
    "random_network",
    "save_checkpoint",
]
