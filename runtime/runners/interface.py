"""What every way to run a frame offers, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.timings import Timings

__all__ = ["Found", "FrameRunner"]


@dataclass(frozen=True)
class Found:
    """What one frame gave.

    Attributes:
        boxes: in the frame's pixels, corners as edges.
        moved: ``(D,)`` bool: the box was moved here from an earlier frame, not detected in this one.
        finite: neither the memory nor the boxes held a NaN or an infinity.
        timings: of this frame.
        signals: what the bundle names as signals, mean of each, by meaning.
    """

    boxes: Boxes
    moved: np.ndarray
    finite: bool
    timings: Timings
    signals: Mapping[str, float] = field(default_factory=dict)


class FrameRunner(Protocol):
    """One stream's way from picture to boxes. What it remembers changes when a step succeeds."""

    @property
    def carries_memory(self) -> bool:
        """False where every frame is run alike, on its own."""

    @property
    def pipeline(self) -> Pipeline:
        """The network that runs on keyframes."""

    def step(self, frame_hwc_bgr_u8: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Found:
        """Run one frame.

        Args:
            frame_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR.
            kind: how; ``first`` needs no memory, the others do.
            remember: False leaves the memory as it was: for a picture that is not to be trusted.
        Raises:
            ShapeError: if the frame is no such picture.
            StateError: if ``kind`` needs a memory and there is none.
            ProviderError: if the engine fails.
        """

    def reset(self) -> None:
        """Forget the stream: ``first`` comes next."""

    def share(self) -> FrameRunner:
        """Another one on the same loaded graphs, with a memory of its own."""
