"""Networks alone: every frame goes through the program of its kind, with the features that the bundle carries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes, Corners
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.runtime.pipeline import Pipeline, Slots
from lsts_edge.runtime.preprocess import Geometry, Preprocessor
from lsts_edge.runtime.runners.interface import Found
from lsts_edge.runtime.timings import Timings

__all__ = ["NetworkRunner", "Seen"]


@dataclass(frozen=True)
class Seen:
    """What a network saw in a frame: its own image and boxes by its own corner rule, before they are placed."""

    image: np.ndarray
    geometry: Geometry
    boxes: Boxes
    finite: bool
    timings: Timings
    signals: Mapping[str, float]


class NetworkRunner:
    """Runs a pipeline on frames; see ``FrameRunner``.

    Args:
        pipeline: with a program for each kind of frame, or with ``first`` alone.
        rule: how a frame becomes the network's image.
        corners: what the network's corners mean.
        signals: meaning -> slot.
    """

    def __init__(
        self, pipeline: Pipeline, rule: InputInfo, corners: Corners, signals: Mapping[str, str] | None = None
    ) -> None:
        self.pipeline = pipeline
        self._rule = rule
        self._corners = corners
        self._signals: Mapping[str, Any] = dict(signals or {})
        self._preprocess = Preprocessor(rule)

    @property
    def carries_memory(self) -> bool:
        """Whether the pipeline does."""
        return self.pipeline.carries_memory

    def share(self) -> NetworkRunner:
        """Another stream on the same sessions."""
        return NetworkRunner(self.pipeline.share(), self._rule, self._corners, self._signals)

    def reset(self) -> None:
        """Forget what is carried."""
        self.pipeline.reset()

    def step(self, frame_hwc_bgr_u8: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Found:
        """Preprocess, run the program, place the boxes in the frame."""
        seen = self.look(frame_hwc_bgr_u8, kind, remember=remember)
        begin_ns = time.perf_counter_ns()
        boxes = seen.geometry.to_frame(seen.boxes)
        timings = seen.timings.spent("postprocess", (time.perf_counter_ns() - begin_ns) / 1e6)
        return Found(boxes, np.zeros(len(boxes), bool), seen.finite, timings, seen.signals)

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """The network's image, valid until the next one, and where the frame lies in it."""
        return self._preprocess(frame_hwc_bgr_u8)

    def geometry(self, frame_hwc_bgr_u8: np.ndarray) -> Geometry:
        """Where the frame would lie in the network's image, without making it."""
        return self._preprocess.geometry(*frame_hwc_bgr_u8.shape[:2])

    def look(self, frame_hwc_bgr_u8: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Seen:
        """As ``step``, with the boxes where the network has them."""
        begin_ns = time.perf_counter_ns()
        image, geometry = self._preprocess(frame_hwc_bgr_u8)
        stages_ms = {"preprocess": (time.perf_counter_ns() - begin_ns) / 1e6}
        slots = self.pipeline.step(image, kind, remember=remember)
        begin_ns = time.perf_counter_ns()
        finite = self.pipeline.is_finite(slots, kind)
        boxes = Boxes.of_slots(slots, self._corners)
        signals = self._read_signals(slots)
        stages_ms["postprocess"] = (time.perf_counter_ns() - begin_ns) / 1e6
        return Seen(image, geometry, boxes, finite, Timings(stages_ms, self.pipeline.timings_ms), signals)

    def _read_signals(self, slots: Slots) -> Mapping[str, float]:
        if not self._signals:
            return self._signals
        known = ((meaning, slots.get(slot)) for meaning, slot in self._signals.items())
        return {meaning: float(np.mean(values)) for meaning, values in known if values is not None}
