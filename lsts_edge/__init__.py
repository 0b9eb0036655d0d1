"""Video object detection on edge devices: LSTS, SRFU and DFA from a trained checkpoint to boxes on a video."""

from __future__ import annotations

from lsts_edge.telemetry import silence_engines

__all__ = ["__version__"]

__version__ = "0.1.0"

silence_engines()
