"""A detector's networks at several sizes, each run once a frame however many ways look at what it found."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping

import numpy as np

from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.subject import Size
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.executor import Executor
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Geometry
from lsts_edge.runtime.propagators.make import make_propagator
from lsts_edge.runtime.runners.boxes import BoxRunner
from lsts_edge.runtime.runners.interface import FrameRunner
from lsts_edge.runtime.runners.network import NetworkRunner, Seen
from lsts_edge.runtime.runners.open import open_runner
from lsts_edge.runtime.schedulers.make import make_scheduler

__all__ = ["Networks", "OncePerFrame"]


class OncePerFrame(NetworkRunner):
    """A network that looks at a picture once and tells everybody who asks about the same picture again.

    What runs a wrapped detector asks it as it asks any network, so what is measured is what runs.
    """

    _frame: np.ndarray | None = None
    _seen: Seen | None = None

    def look(self, frame_hwc_bgr_u8: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Seen:
        """As the network; the same object is the same picture."""
        if self._frame is not frame_hwc_bgr_u8 or self._seen is None:
            self._seen = super().look(frame_hwc_bgr_u8, kind, remember=remember)
            self._frame = frame_hwc_bgr_u8
        return self._seen

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """As the network."""
        if self._frame is frame_hwc_bgr_u8 and self._seen is not None:
            return self._seen.image, self._seen.geometry
        return super().prepare(frame_hwc_bgr_u8)

    def reset(self) -> None:
        """A per-frame network carries nothing, and others may still ask about the picture."""


class Networks:
    """The networks on one engine, and executors of ways over them.

    Args:
        drafts: bundles whose input has the size.
        engine: what runs them.
        learnt: bundle of the learnt way, where there is one.
    """

    def __init__(
        self, drafts: Mapping[Size, DraftBundle], engine: EngineOptions, learnt: DraftBundle | None = None
    ) -> None:
        self._learnt = None if learnt is None else open_runner(learnt, engine, "features")
        self._of: dict[Size, OncePerFrame] = {}
        for size, draft in drafts.items():
            manifest = draft.manifest
            self._of[size] = OncePerFrame(Pipeline(draft, engine), manifest.input, manifest.detection.corners)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Of the networks, the largest first as they were given."""
        return tuple(self._of)

    def at(self, size: Size) -> OncePerFrame:
        """The network of a size."""
        return self._of[size]

    def executor(self, candidate: Candidate) -> Executor:
        """A stream of its own, run as the candidate says, on the shared networks."""
        runner: FrameRunner = self._of[candidate.size]
        if candidate.kind == "features":
            assert self._learnt is not None, "a learnt way is listed where something was learnt"
            runner = self._learnt.share()
        elif not candidate.detects_always:
            make = functools.partial(make_propagator, candidate.kind, candidate.parameters)
            small = None if candidate.small is None else self._of[candidate.small]
            runner = BoxRunner(self._of[candidate.size], make, small)
        return Executor(runner, make_scheduler(candidate.way()), time.monotonic)

    def seconds(self, frames: Iterable[np.ndarray]) -> dict[Size, float]:
        """Roughly what a frame costs each network: the least of a few runs, after one to warm up."""
        least: dict[Size, float] = {}
        pictures = [frame.copy() for frame in frames]
        for size, network in self._of.items():
            network.look(pictures[0].copy(), "first")
            for picture in pictures:
                begin = time.perf_counter()
                network.look(picture, "first")
                least[size] = min(least.get(size, float("inf")), time.perf_counter() - begin)
        return least
