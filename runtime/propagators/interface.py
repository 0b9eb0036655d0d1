"""What fills the frames between keyframes with boxes: one small interface, without the engine that detects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError, ShapeError

__all__ = ["BoxPropagator", "PropagatedBoxes", "check_fraction", "check_luma", "check_whole"]


@dataclass(frozen=True)
class PropagatedBoxes:
    """D boxes of one frame, and which of them were moved there from an earlier one.

    Attributes:
        boxes: in pixels of the network's image.
        moved: ``(D,)`` bool: the box comes from the keyframe. False: it was detected in this frame.
        motion: how far the boxes that count moved from the frame before, as a share of their size; None where nobody
            asked.
    """

    boxes: Boxes
    moved: np.ndarray
    motion: float | None = None

    def __post_init__(self) -> None:
        if self.moved.shape != (len(self.boxes),):
            expected = f"({len(self.boxes)},)"
            raise ShapeError("moved or not", got=self.moved.shape, expected=expected, fix="Give one for each box.")

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, which: np.ndarray) -> PropagatedBoxes:
        """The boxes of a mask, or those at indices, in their order."""
        return PropagatedBoxes(self.boxes.select(which), self.moved[which], self.motion)


class BoxPropagator(Protocol):
    """One stream's boxes from keyframe to keyframe.

    ``luma`` is the network's image in gray, ``(h, w)`` uint8, without the padding: the frame fills it from the top
    left corner, so that pixels are those of the boxes and its border is the frame's. The caller makes it for ways
    with ``needs_luma`` only, and runs the detector on the smaller input for ways with ``needs_detections`` only.

    Boxes come back with the corner rule of the keyframe's. The state changes when a call succeeds: after an exception
    it is what it was.

    Attributes:
        name: of the way, as the manifest has it.
        needs_luma: ``keyframe`` and ``propagate`` look at the picture.
        needs_detections: ``propagate`` wants this frame's boxes of the same detector on a smaller input.
        options: a frozen dataclass, JSON-ready.
    """

    options: Any
    name: ClassVar[str]
    needs_luma: ClassVar[bool]
    needs_detections: ClassVar[bool]

    def keyframe(self, luma: np.ndarray | None, detected: Boxes) -> None:
        """Remember what the detector found in a keyframe.

        Args:
            luma: the picture; None where ``needs_luma`` is False.
            detected: its boxes.
        Raises:
            ShapeError: if a picture is needed and this is none.
        """

    def propagate(self, luma: np.ndarray | None, detected: Boxes | None = None) -> PropagatedBoxes:
        """The boxes of the next frame.

        Args:
            luma: the picture; None where ``needs_luma`` is False.
            detected: the smaller input's boxes, scaled to the pixels of the network's image; None where
                ``needs_detections`` is False.
        Raises:
            StateError: if there was no keyframe since the last reset.
            ShapeError: if the picture is none, or of another size than the keyframe's.
        """

    def reset(self) -> None:
        """Forget everything: a keyframe comes next."""


def check_luma(luma: np.ndarray | None, like: tuple[int, ...] | None = None) -> np.ndarray:
    """The picture, if it is one and of the size wanted.

    Args:
        luma: what the caller gave.
        like: ``(h, w)`` of the keyframe; None takes any size.
    Raises:
        ShapeError: if it is not.
    """
    fits = isinstance(luma, np.ndarray) and luma.dtype == np.uint8 and luma.ndim == 2 and luma.size > 0
    if fits and (like is None or luma.shape == like):  # type: ignore[union-attr]
        return luma  # type: ignore[return-value]
    got = f"{luma.dtype} {luma.shape}" if isinstance(luma, np.ndarray) else type(luma).__name__
    raise ShapeError(
        "gray picture to move boxes by",
        got=got,
        expected=f"uint8 {like or '(h, w)'}",
        fix="Reset the stream when the frame's size changes.",
    )


def check_fraction(options: object, *names: str, least: float = 0.0, most: float = 1.0) -> None:
    """Refuse options outside ``least``..``most``.

    Raises:
        OptionError: naming the first that is.
    """
    for name in names:
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise _refused(name, value, f"{least:g}..{most:g}")


def check_whole(options: object, name: str, least: int, most: int) -> None:
    """Refuse an option that is no whole number in ``least``..``most``.

    Raises:
        OptionError: naming it.
    """
    value = getattr(options, name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _refused(name, value, f"a whole number, {least}..{most}")


def _refused(name: str, value: object, expected: str) -> OptionError:
    return OptionError(f"propagator option {name}", got=repr(value), expected=expected, fix="Leave it out if unsure.")
