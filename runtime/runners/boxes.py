"""A network on keyframes, and its boxes held, moved or fused on the frames between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.errors import StateError
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Geometry
from lsts_edge.runtime.propagators.interface import BoxPropagator, PropagatedBoxes
from lsts_edge.runtime.runners.interface import Found
from lsts_edge.runtime.runners.network import NetworkRunner
from lsts_edge.runtime.schedulers.motion import BOX_MOTION
from lsts_edge.runtime.timings import Timings

__all__ = ["BoxRunner"]


class BoxRunner:
    """Runs the detector on keyframes and a propagator in between; see ``FrameRunner``.

    Boxes are carried in pixels of the network's image, counted from where the frame begins in it. On a frame that is
    not to be remembered the boxes shown last are shown again: a picture that may be wrong moves nothing.

    Args:
        network: the detector, run as ``first`` on every keyframe.
        make: a propagator for one stream.
        small: the same detector on a smaller input, for propagators that want its boxes.
    """

    carries_memory = True

    def __init__(
        self, network: NetworkRunner, make: Callable[[], BoxPropagator], small: NetworkRunner | None = None
    ) -> None:
        self._network = network
        self._make = make
        self._small = small
        self._propagator = make()
        self._shown: PropagatedBoxes | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The detector's."""
        return self._network.pipeline

    def share(self) -> BoxRunner:
        """Another stream on the same sessions."""
        small = None if self._small is None else self._small.share()
        return BoxRunner(self._network.share(), self._make, small)

    def reset(self) -> None:
        """Forget boxes and pictures."""
        self._network.reset()
        if self._small is not None:
            self._small.reset()
        self._propagator.reset()
        self._shown = None

    def step(self, frame_hwc_bgr_u8: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Found:
        """Detect on keyframes, propagate on the others."""
        if kind == "propagated":
            return self._propagate(frame_hwc_bgr_u8, remember)
        seen = self._network.look(frame_hwc_bgr_u8, "first", remember=remember)
        begin_ns = time.perf_counter_ns()
        detected = _from_edge(seen.boxes, seen.geometry)
        if remember and seen.finite:
            self._propagator.keyframe(self._luma(seen.image, seen.geometry), detected)
            self._shown = _detected(detected)
        timings = seen.timings.spent("propagate", (time.perf_counter_ns() - begin_ns) / 1e6)
        found = _placed(_detected(detected), seen.geometry, timings)
        return replace(found, finite=seen.finite, signals=seen.signals)

    def _propagate(self, frame: np.ndarray, remember: bool) -> Found:
        if self._shown is None:
            raise StateError(
                "a propagated frame has no boxes to build on",
                got="no keyframe since the last reset",
                expected="a keyframe before",
                fix="Run the first frame of a stream, and the one after a reset, as first.",
            )
        geometry = self._network.geometry(frame)
        if not remember:
            shown = replace(self._shown, moved=np.ones(len(self._shown), bool))
            return _placed(shown, geometry, Timings())
        detected, timings = None, Timings()
        signals: Mapping[str, float] = {}
        if self._small is not None and self._propagator.needs_detections:
            seen = self._small.look(frame, "first")
            detected, timings, signals = _rescaled(seen.boxes, seen.geometry, geometry), seen.timings, seen.signals
            if not seen.finite:
                return replace(_placed(_detected(detected), geometry, timings), finite=False)
        luma = None
        if self._propagator.needs_luma:
            begin_ns = time.perf_counter_ns()
            image, _ = self._network.prepare(frame)
            timings = timings.spent("preprocess", (time.perf_counter_ns() - begin_ns) / 1e6)
            luma = image
        begin_ns = time.perf_counter_ns()
        boxes = self._propagator.propagate(None if luma is None else self._luma(luma, geometry), detected)
        self._shown = boxes
        timings = timings.spent("propagate", (time.perf_counter_ns() - begin_ns) / 1e6)
        if boxes.motion is not None:
            signals = {**signals, BOX_MOTION: boxes.motion}
        return replace(_placed(boxes, geometry, timings), signals=signals)

    def _luma(self, image: np.ndarray, geometry: Geometry) -> np.ndarray | None:
        """The frame's part of the network's image in gray."""
        if not self._propagator.needs_luma:
            return None
        top, left = geometry.top_px, geometry.left_px
        inner = image[0, top : top + geometry.inner_height_px, left : left + geometry.inner_width_px]
        return np.asarray(cv2.cvtColor(inner, cv2.COLOR_BGR2GRAY))


def _start(geometry: Geometry) -> np.ndarray:
    return np.array([geometry.left_px, geometry.top_px] * 2, np.float32)


def _from_edge(boxes: Boxes, geometry: Geometry) -> Boxes:
    """As a propagator takes them: corners as edges, counted from where the frame begins in the network's image."""
    edges = boxes.as_edges()
    return replace(edges, xyxy_px=edges.xyxy_px - _start(geometry))


def _rescaled(boxes: Boxes, small: Geometry, large: Geometry) -> Boxes:
    """Boxes of the smaller input in pixels of the large one."""
    found = _from_edge(boxes, small)
    scale = np.array([large.scale_x / small.scale_x, large.scale_y / small.scale_y] * 2, np.float32)
    return replace(found, xyxy_px=found.xyxy_px * scale)


def _detected(boxes: Boxes) -> PropagatedBoxes:
    return PropagatedBoxes(boxes, np.zeros(len(boxes), bool))


def _placed(shown: PropagatedBoxes, geometry: Geometry, timings: Timings) -> Found:
    """In the frame's pixels, and whether they are finite."""
    begin_ns = time.perf_counter_ns()
    boxes = shown.boxes
    finite = bool(np.isfinite(boxes.xyxy_px).all() and np.isfinite(boxes.scores).all())
    placed, inside = geometry.place(replace(boxes, xyxy_px=boxes.xyxy_px + _start(geometry)))
    timings = timings.spent("postprocess", (time.perf_counter_ns() - begin_ns) / 1e6)
    return Found(placed, shown.moved[inside], finite, timings)
