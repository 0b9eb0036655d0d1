"""The frames that a bundle is recorded on, cut or drawn before anything is exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.publish.filming import FilmPlan
from lsts_edge.verify.compare import parity_interval
from lsts_edge.verify.film import decode_film
from lsts_edge.verify.golden import GoldenRecorder
from lsts_edge.verify.references import CLIP_SEED, EngineReference, clip_images
from lsts_edge.verify.torch_reference import TorchReference

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = ["RecordingClip"]


@dataclass(frozen=True)
class RecordingClip:
    """What a bundle is recorded on: the film's images, else those of the built-in clip.

    Attributes:
        images: ``(1, H, W, 3)`` uint8 BGR each.
        film: the images as the bundle holds them; empty for the built-in clip.
        size: of the network's input.
        frames: of a scene, or of the whole clip.
    """

    images: Sequence[npt.NDArray[Any]]
    film: bytes
    size: InputInfo
    frames: int

    @classmethod
    def of(cls, size: InputInfo, frames: int, plan: FilmPlan | None) -> RecordingClip:
        """Cut ``frames`` frames of each of the plan's scenes, or draw the built-in clip.

        Raises:
            OptionError: if a video is too short.
            StreamError: if one cannot be read.
        """
        film = b"" if plan is None else plan.shoot(size, frames)
        images: Iterable[npt.NDArray[Any]] = clip_images(frames, *size.image_px)
        if plan is not None:
            images = decode_film(film, size.height_px, size.width_px)
        return cls(list(images), film, size, frames)

    def recorder(self) -> GoldenRecorder:
        """An empty recording of this clip."""
        return GoldenRecorder(*self.size.image_px, CLIP_SEED, self.film)

    def torch(self, network: VideoNetwork, bundle: Bundle, recorder: GoldenRecorder | None = None) -> TorchReference:
        """What torch gives on it."""
        interval = parity_interval(bundle.manifest, self.frames)
        return TorchReference(network, self.images, interval, recorder, self._scene_frames)

    def engine(self, bundle: Bundle, form: str | None, recorder: GoldenRecorder | None = None) -> EngineReference:
        """What the bundle's own split graphs give on it."""
        interval = parity_interval(bundle.manifest, self.frames)
        return EngineReference(bundle, self.images, interval, form, recorder, self._scene_frames)

    @property
    def _scene_frames(self) -> int | None:
        """Another scene is another video: the memory is dropped."""
        return self.frames if self.film else None
