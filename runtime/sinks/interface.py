"""What every sink offers: it takes frames and detections, and ends with a whole output or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["Sink"]


class Sink(ABC):
    """Takes each frame and its detections; ends with ``finish``, ``publish`` and ``settle``, or with ``abandon``, once.

    Attributes:
        stage_ms: time of the last ``write`` by stage, for the timings.
        stopping: asked by a sink that waits for somebody: whether the run is to end.
    """

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self.stopping: Callable[[], bool] = lambda: False

    @abstractmethod
    def write(self, frame: Frame, detections: Detections) -> None:
        """Take one frame."""

    @abstractmethod
    def finish(self) -> None:
        """Make the output valid, all of it on the disk; whatever can fail fails here."""

    def publish(self) -> None:  # noqa: B027 - nothing to do for a sink without a file
        """Put the output at its path; called once every sink of the run has finished."""

    def settle(self) -> None:  # noqa: B027 - nothing to do for a sink without a file
        """Let go of an older output; called once every sink of the run has published. Never raises."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave nothing behind, published or not, but an older output; never raises."""
