"""What the frozen detector says of frames, kept on disk: learning reads it many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.publish.wrap.learn.frozen import Frozen
from lsts_edge.runtime.engines.interface import Backend

__all__ = ["FrameMaker", "FrameShape", "SeenFrames", "Shot"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SeenFrames:
    """One or more frames: the detector's maps, those of the half-size picture, its features; each with a batch axis."""

    maps: list[Array]
    light: list[Array]
    features: list[Array]


class FrameShape:
    """How a frame's numbers lie one behind the other."""

    def __init__(self, frozen: Frozen) -> None:
        layout = frozen.layout
        sides = [(layout.width, *size) for scale in (1.0, 0.5) for size in layout.grids(scale)]
        self.shapes = [*sides, *(tap.shape for tap in frozen.taps)]
        self.levels = len(layout.spec.strides)
        self._ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])

    @property
    def numbers(self) -> int:
        """Of a frame."""
        return int(self._ends[-1])

    def flat(self, seen: SeenFrames) -> Array:
        """``(numbers,)`` float16 of one frame."""
        parts = [value.ravel() for value in (*seen.maps, *seen.light, *seen.features)]
        return np.concatenate(parts).astype(np.float16)

    def open(self, rows: Array) -> SeenFrames:
        """Frames of rows ``(B, numbers)``, in float32."""
        parts = [
            np.ascontiguousarray(rows[:, end - int(np.prod(shape)) : end], np.float32).reshape(-1, *shape)
            for shape, end in zip(self.shapes, self._ends, strict=True)
        ]
        return SeenFrames(parts[: self.levels], parts[self.levels : 2 * self.levels], parts[2 * self.levels :])


@dataclass(frozen=True)
class Shot:
    """A shot's frames on disk, ``(frames, numbers)`` float16."""

    path: Path
    frames: int

    def rows(self) -> Array:
        """Read where they are needed only."""
        return np.asanyarray(np.load(self.path, mmap_mode="r", allow_pickle=False))


class FrameMaker:
    """Runs the frozen graphs.

    Args:
        frozen: the graphs.
        backend: what runs them.
    """

    def __init__(self, frozen: Frozen, backend: Backend) -> None:
        self._sessions = {
            name: backend.load(frozen.graphs[name].SerializeToString(deterministic=True), name)
            for name in ("heavy", "remember", "light")
        }
        self._frozen = frozen

    def see(self, image: Array) -> SeenFrames:
        """A picture ``(1, H, W, 3)`` uint8 BGR at the detector's size."""
        table = self._sessions["heavy"].run({"image": image})["table"]
        maps = self._sessions["remember"].run({"table": table})
        light = self._sessions["light"].run({"image": image})
        levels = range(len(self._frozen.layout.spec.strides))
        return SeenFrames(
            [maps[f"map_{level}"] for level in levels],
            [light[f"light_{level}"] for level in levels],
            [light[tap.slot] for tap in self._frozen.taps],
        )

    def rows(self, images: Sequence[Array] | Iterator[Array], shape: FrameShape) -> Array:
        """Of a shot, ``(frames, numbers)`` float16."""
        return np.stack([shape.flat(self.see(image)) for image in images])
