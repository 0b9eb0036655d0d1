"""The torch loop over images as arrays: what a bundle is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lsts_edge.bundle.programs import FrameKind
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.model.video_loop import VideoLoop

__all__ = ["nearby_detections", "reference_steps", "torch_version"]


_FEW_PARAMETERS = 1_000_000
"""Below this, handing work to threads costs more than the work."""


def reference_steps(
    network: VideoNetwork, images: Iterable[np.ndarray], keyframe_interval: int, scene_frames: int | None = None
) -> Iterator[tuple[np.ndarray, FrameKind, dict[str, np.ndarray]]]:
    """Run the video loop, state carried from frame to frame.

    Args:
        network: in evaluation mode, on the CPU.
        images: network images, ``(1, H, W, 3)`` uint8 BGR each.
        keyframe_interval: frames from one keyframe to the next.
        scene_frames: the memory is dropped after so many frames; None keeps it to the end.

    Yields:
        The image, its kind, and the loop's slots as arrays.
    """
    few = sum(parameter.numel() for parameter in network.parameters()) < _FEW_PARAMETERS
    loop = VideoLoop(network)
    normalize = Normalize(network.preset.input)
    for number, image in enumerate(images):
        index = number % scene_frames if scene_frames else number
        if index == 0:
            loop.reset()
        kind: FrameKind = "first"
        if index and not network.preset.per_frame:
            kind = "propagated" if index % keyframe_interval else "keyframe"
        with torch.inference_mode(), _threads(1 if few else torch.get_num_threads()):
            slots = loop.step(normalize(torch.from_numpy(image.copy())), kind != "propagated")
        yield image, kind, {name: tensor.numpy() for name, tensor in slots.items()}


def nearby_detections(network: VideoNetwork, task: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Detections for task features that differ by less than an engine may: they show where a rounding decides.

    Args:
        network: in evaluation mode, on the CPU.
        task: ``(1, C, h, w)`` task feature.

    Yields:
        Boxes, scores and labels for noise of at most 5e-6 and 5e-5 of the largest magnitude, two draws each.
    """
    generator = torch.Generator().manual_seed(0)
    feature = torch.from_numpy(task)
    scale = float(feature.abs().max())
    for size in (5e-6, 5e-6, 5e-5, 5e-5):
        noise = torch.rand(feature.shape, generator=generator) * 2 - 1
        with torch.inference_mode():
            boxes, scores, labels = network.detect(feature + noise * (size * scale))
        yield boxes.numpy(), scores.numpy(), labels.numpy()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_version() -> str:
    """Version of torch, for reports."""
    return str(torch.__version__)
