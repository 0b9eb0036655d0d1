"""How long a new object is there before it is detected for the first time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.evaluation.tracks import FoundTrack

__all__ = ["FirstDetections", "measure_first_detections"]

_WITHIN_FRAMES = (0, 1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class FirstDetections:
    """Delays of some objects, in the frames that show them; a delay of 0 is detection at first sight.

    Attributes:
        objects: of them.
        never: those not detected in any frame.
        median_frames: of the delays, those never detected counting as longer than any; None where that is the median.
        mean_frames: of the objects that are detected at last; None where none is.
        found_within: share of all objects detected within so many frames.
    """

    objects: int
    never: int
    median_frames: float | None
    mean_frames: float | None
    found_within: Mapping[str, float]


def measure_first_detections(tracks: Sequence[FoundTrack]) -> tuple[FirstDetections, FirstDetections]:
    """Delays of all objects, and of those that come into view after their video's first frame.

    The idea is Mao et al., "A Delay Metric for Video Object Detection", ICCV 2019; there at a fixed rate of false
    alarms, here at the score from which boxes are shown, which is what a user sees.
    """
    return _measure(tracks), _measure([one for one in tracks if not one.track.starts_video])


def _measure(tracks: Sequence[FoundTrack]) -> FirstDetections:
    delays = np.array([float(one.found.argmax()) if one.found.any() else np.inf for one in tracks])
    known = delays[np.isfinite(delays)]
    # The lower of two middle ones where one of them is never: half of the objects are found by then.
    median = float(np.sort(delays)[(len(delays) - 1) // 2]) if len(delays) else np.inf
    return FirstDetections(
        objects=len(delays),
        never=len(delays) - len(known),
        median_frames=median if np.isfinite(median) else None,
        mean_frames=float(known.mean()) if len(known) else None,
        found_within={str(limit): float((delays <= limit).mean()) if len(delays) else 0.0 for limit in _WITHIN_FRAMES},
    )
