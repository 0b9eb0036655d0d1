"""Track ids: the same number for the same object from frame to frame, by ByteTrack of the package trackers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lsts_edge.errors import PackageMissing
from lsts_edge.runtime.detections import Detections

__all__ = ["TrackIds"]

_USUAL_RATE_FPS = 25.0
_SURE = 0.5  # a box from this score on may begin a track


class TrackIds:
    """Numbers the boxes of a stream; an object that is not seen for a second gets a new number when it comes back."""

    def __init__(self, rate_fps: float | None = None) -> None:
        """Begin a stream.

        Args:
            rate_fps: frames per second that arrive here; None means 25.
        Raises:
            PackageMissing: without the extra ``[track]``.
        """
        try:
            import supervision
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise PackageMissing(
                "track ids need a package that is not installed",
                got=f"no {(error.name or 'trackers').partition('.')[0]}",
                expected="the extra [track]",
                fix='Run: pip install "lsts-edge[track]"',
            ) from error
        rate = rate_fps or _USUAL_RATE_FPS
        self._first_id = self._next_id = 0
        self._supervision: Any = supervision
        self._tracker: Any = ByteTrackTracker(
            lost_track_buffer=30,  # of 30 frames a second: the package counts in these
            frame_rate=rate,
            track_activation_threshold=_SURE,
            high_conf_det_threshold=_SURE,
        )

    def update(self, detections: Detections) -> Detections:
        """The same detections with ids; where the memory was reset, all objects are new ones.

        A box is -1 until it has been seen in two frames.
        """
        if detections.reset_reason is not None:
            self._tracker.reset()
            self._first_id = self._next_id  # the package counts from 0 again, and no number is used twice
        given = self._supervision.Detections(
            xyxy=detections.boxes_xyxy_px.copy(),
            confidence=detections.scores.copy(),
            class_id=detections.labels.copy(),
            data={"index": np.arange(len(detections))},
        )
        found = self._tracker.update(given)
        ids = np.full(len(detections), -1, np.int64)
        if len(found):
            numbers = np.asarray(found.tracker_id, np.int64)
            ids[np.asarray(found.data["index"], np.int64)] = np.where(numbers < 0, -1, numbers + self._first_id)
            self._next_id = max(self._next_id, int(ids.max()) + 1)
        return dataclasses.replace(detections, track_ids=ids)
