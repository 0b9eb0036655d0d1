"""Where points of one picture are in the next: dense DIS flow read at them, or Lucas-Kanade from each."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

__all__ = ["DisFlow", "LkTracker", "PointTracker"]


class PointTracker(Protocol):
    """Follows points from one gray picture to another of the same size."""

    def shifts(self, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
        """How far each point moved.

        Args:
            before: ``(h, w)`` uint8.
            after: ``(h, w)`` uint8.
            points: ``(D, S, 2)`` float32, x and y in ``before``, inside it.
        Returns:
            ``(D, S, 2)`` float32; NaN where a point was lost.
        """


class DisFlow:
    """DIS flow (Kroeger et al., ECCV 2016) at the preset ultrafast.

    From there: patches of 8 pixels every 6 instead of every 4 and 8 steps instead of 12, one level finer. Its time
    does not depend on the number of boxes.
    """

    def __init__(self) -> None:
        """Allocate nothing yet."""
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flow.setFinestScale(1)
        flow.setPatchStride(6)
        flow.setGradientDescentIterations(8)
        self._flow = flow

    def shifts(self, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
        """See ``PointTracker``; a point lies where the nearest pixel does."""
        # Never started from the flow of the frame before: OpenCV 5.0 reads outside its arrays where one is NaN.
        field = self._flow.calc(before, after, None)  # type: ignore[call-overload]
        nearest = np.rint(points).astype(np.intp)
        return np.asarray(field[nearest[..., 1], nearest[..., 0]])


class LkTracker:
    """Lucas-Kanade in pyramids: its time grows with the boxes, and its points do not share errors."""

    _WINDOW = (11, 11)
    _LEVELS = 3
    _CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)

    def shifts(self, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
        """See ``PointTracker``."""
        start = points.reshape(-1, 1, 2)
        ended, status, _ = cv2.calcOpticalFlowPyrLK(
            before, after, start, start.copy(), winSize=self._WINDOW, maxLevel=self._LEVELS, criteria=self._CRITERIA
        )
        moved = np.where((status > 0)[..., None], ended - start, np.nan)
        return np.asarray(moved.reshape(points.shape), np.float32)
