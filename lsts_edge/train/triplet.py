"""The losses of triplets, from their images or from cached keyframe features on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from lsts_edge.model.network import VideoNetwork
from lsts_edge.train.augment import Batch
from lsts_edge.train.losses import DetectionLoss, Truth
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.processes import Processes

__all__ = ["TripletWeights", "losses_from_features", "triplet_losses"]


class TripletWeights(Protocol):
    """Weights of the losses beside detection on the current frame; 0 leaves one out."""

    @property
    def key_loss(self) -> float:
        """Of detection on the new keyframe."""

    @property
    def mimic(self) -> float:
        """Of the light path's distance to the heavy one."""

    @property
    def align(self) -> float:
        """Of what was aligned, to the feature of the frame that it was aligned to."""


def losses_from_features(
    network: VideoNetwork,
    criterion: DetectionLoss,
    features: Sequence[torch.Tensor],
    images: Sequence[torch.Tensor],
    high: torch.Tensor | None,
    truths: Sequence[Truth],
    size: tuple[int, int],
    weights: TripletWeights,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Losses by name, of B triplets.

    The old keyframe's feature is the memory; the new keyframe's task feature is the memory aligned and aggregated
    (SRFU); the current frame's is that one aligned to its own light feature and aggregated (DFA).

    Args:
        network: of a preset that is not per frame.
        criterion: detection losses.
        features: heavy ones, ``(B, C, h, w)``, of the old keyframe, the new one and the current frame, whose own is a
            goal only.
        images: normalised, of the same frames.
        high: the light path's feature of the current frame; None where the preset does not look at it.
        truths: of the new keyframe and the current frame.
        size: height and width of the images.
        weights: of the losses.
        generator: on the CPU.
    """
    old, new, goal = features
    processes = criterion.processes
    before = None if network.preset.embeds else network.remember(old, images[0])
    key = network.update(images[1], new, old, before)
    carried = key["memory"] if network.preset.form == "paper" else key["task"]
    slots = network.propagate(images[2], carried, network.remember(carried, images[1]), high)
    losses = criterion(network.head.maps(slots["task"]), truths[1], size, generator)  # type: ignore[operator]
    if weights.key_loss:
        keyframe = criterion(network.head.maps(key["task"]), truths[0], size, generator)  # type: ignore[operator]
        losses["key"] = weights.key_loss * torch.stack(list(keyframe.values())).sum()
    if weights.mimic and high is not None:
        losses["mimic"] = weights.mimic * _distance(high, goal, processes)
    if weights.align and "aligned" in key:
        losses["align_key"] = 0.5 * weights.align * _distance(key["aligned"], new, processes)
    if weights.align and "aligned" in slots:
        losses["align"] = weights.align * _distance(slots["aligned"], goal, processes)
    return losses


def triplet_losses(
    network: VideoNetwork,
    criterion: DetectionLoss,
    batch: Batch,
    size: tuple[int, int],
    options: TrainOptions,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Losses of old keyframe, new keyframe, current frame, as the online loop would run them.

    Args:
        network: of a preset that is not per frame.
        criterion: detection losses.
        batch: normalised triplets.
        size: height and width of the images.
        options: weights of the losses and what is trained.
        generator: on the CPU.
    """
    count = len(batch.images)
    frames = batch.images.transpose(0, 1).reshape(3 * count, *batch.images.shape[2:])
    frames = frames.contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(options.train_low):
        low = network.backbone.low(frames)  # type: ignore[operator]
    heavy = 3 * count if options.mimic or options.align else 2 * count
    with torch.set_grad_enabled(options.heavy_in_video):
        features = network.backbone.rest(low[:heavy])  # type: ignore[operator]
    images = [frames[index * count : (index + 1) * count] for index in range(3)]
    high = _high(network, images[2], low[2 * count :], options) if network.preset.sees else None
    truths = [
        Truth.of(batch.boxes[:, at], batch.labels[:, at], batch.ignore[:, at], batch.trust[:, at]).rows(
            criterion.processes
        )
        for at in (1, 2)
    ]
    parts = [features[index * count : (index + 1) * count] for index in range(3)]
    return losses_from_features(network, criterion, parts, images, high, truths, size, options, generator)


def _high(network: VideoNetwork, image: torch.Tensor, low: torch.Tensor, options: TrainOptions) -> torch.Tensor:
    """The light path's feature; at full scale the low part has seen the image already, which gave ``low``."""
    shrunk = network.shrink(image)
    if network.preset.light_scale != 1.0:
        with torch.set_grad_enabled(options.train_low):
            low = network.low(shrunk)
    return network.high(low, shrunk.shape[2:])


def _distance(value: torch.Tensor, goal: torch.Tensor, processes: Processes) -> torch.Tensor:
    """This process's part of the mean squared difference over the mean square of the goal, which takes no gradient."""
    goal = goal.detach().float()
    scale = processes.sum(goal.square().mean()) / processes.count
    return (value.float() - goal).square().mean() / processes.count / scale.clamp(min=1e-6)
