"""The keyframe's boxes as they are until the next one: what every other way has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import StateError
from lsts_edge.kinds import check_fields
from lsts_edge.runtime.propagators.interface import PropagatedBoxes, check_fraction

__all__ = ["Hold", "HoldOptions", "require_keyframe"]

_State = TypeVar("_State")


@dataclass(frozen=True)
class HoldOptions:
    """``score_decay``: scores are multiplied by it at every frame."""

    score_decay: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_fraction(self, "score_decay")


class Hold:
    """Shows the keyframe's boxes again; see ``BoxPropagator``."""

    name: ClassVar[str] = "hold"
    needs_luma: ClassVar[bool] = False
    needs_detections: ClassVar[bool] = False

    def __init__(self, options: HoldOptions | None = None) -> None:
        """Keep the options; there is no keyframe yet."""
        self.options = options or HoldOptions()
        self._boxes: Boxes | None = None

    def keyframe(self, luma: np.ndarray | None, detected: Boxes) -> None:
        """Remember the boxes."""
        self._boxes = detected

    def propagate(self, luma: np.ndarray | None, detected: Boxes | None = None) -> PropagatedBoxes:
        """The same boxes."""
        boxes = require_keyframe(self._boxes)
        if self.options.score_decay < 1:
            boxes = replace(boxes, scores=boxes.scores * np.float32(self.options.score_decay))
            self._boxes = boxes
        return PropagatedBoxes(boxes, np.ones(len(boxes), bool))

    def reset(self) -> None:
        """Forget them."""
        self._boxes = None


def require_keyframe(state: _State | None) -> _State:
    """What is carried along.

    Raises:
        StateError: if there is nothing.
    """
    if state is None:
        raise StateError(
            "a propagated frame has no boxes to build on",
            got="no keyframe since the last reset",
            expected="a keyframe before",
            fix="Run the first frame of a stream, and the one after a reset, through the detector.",
        )
    return state
