"""The right outputs of a clip from torch, live: the one file of ``verify`` that needs it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.verify.golden import GoldenRecorder, TensorSample
from lsts_edge.verify.parity import EXACT, Doubt, doubt_of
from lsts_edge.verify.references import FrameTruth, image_digest

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = ["TorchReference"]

Array = npt.NDArray[Any]


class TorchReference:
    """Runs the torch loop, state carried, on images already at the network's size.

    Args:
        network: in evaluation mode, on the CPU.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        keyframe_interval: frames from one keyframe to the next.
        recorder: told of every frame, to write the bundle's recording.
        scene_frames: the memory is dropped after so many frames; None keeps it to the end.
    """

    def __init__(
        self,
        network: VideoNetwork,
        images: Iterable[Array],
        keyframe_interval: int,
        recorder: GoldenRecorder | None = None,
        scene_frames: int | None = None,
    ) -> None:
        from lsts_edge.model.reference import torch_version

        self._network = network
        self._images = images
        self._interval = keyframe_interval
        self._recorder = recorder
        self._scene_frames = scene_frames
        self.description = f"torch {torch_version()}, live"
        self.limits = EXACT

    def frames(self) -> Iterator[FrameTruth]:
        """Step through the clip; every entry of every tensor is compared."""
        from lsts_edge.model.boxes import CORNERS
        from lsts_edge.model.reference import nearby_detections, reference_steps

        steps = reference_steps(self._network, self._images, self._interval, self._scene_frames)
        for image, kind, arrays in steps:
            boxes = Boxes(arrays.pop("boxes"), arrays.pop("scores"), arrays.pop("labels"), CORNERS)
            task = arrays["task"]

            @functools.cache
            def doubt(boxes: Boxes = boxes, task: Array = task) -> Doubt:
                nearby = nearby_detections(self._network, task)
                return doubt_of(boxes, (Boxes(*found, corners=CORNERS) for found in nearby))

            if self._recorder is not None:
                self._recorder.add(kind, image_digest(image), arrays, boxes, doubt())
            tensors = {
                name: TensorSample(array, float(np.abs(array).max(initial=0.0))) for name, array in arrays.items()
            }
            yield FrameTruth(image, kind, tensors, boxes, doubt)
