"""The same detector on a smaller input, its boxes as they are: the honest rival of every way that moves boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.runtime.propagators.fused import require_detections
from lsts_edge.runtime.propagators.interface import PropagatedBoxes

__all__ = ["SmallerInput", "SmallerInputOptions"]


@dataclass(frozen=True)
class SmallerInputOptions:
    """Nothing to choose: which graph runs is the bundle's, and how often is the scheduler's."""


class SmallerInput:
    """Carries nothing: a propagated frame has the boxes that the smaller graph found in it; see ``BoxPropagator``."""

    name: ClassVar[str] = "smaller-input"
    needs_luma: ClassVar[bool] = False
    needs_detections: ClassVar[bool] = True

    def __init__(self, options: SmallerInputOptions | None = None) -> None:
        """Keep the options."""
        self.options = options or SmallerInputOptions()

    def keyframe(self, luma: np.ndarray | None, detected: Boxes) -> None:
        """Nothing to remember."""

    def propagate(self, luma: np.ndarray | None, detected: Boxes | None = None) -> PropagatedBoxes:
        """The boxes handed in."""
        boxes = require_detections(self.name, detected)
        return PropagatedBoxes(boxes, np.zeros(len(boxes), bool))

    def reset(self) -> None:
        """Nothing to forget."""
