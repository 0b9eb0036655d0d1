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
    same: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Losses by name, of B triplets.

    The first keyframe's feature is the memory; at each later one it is aligned and aggregated (SRFU), which gives the
    keyframe's task feature and the next memory. The current frame's task feature is the last keyframe's aligned to its
    own light feature and aggregated (DFA).

    Args:
        network: of a preset that is not per frame.
        criterion: detection losses.
        features: heavy ones, ``(B, C, h, w)``, of the keyframes, the oldest first, and of the current frame, whose own
            is a goal only.
        images: normalised, of the same frames.
        high: the light path's feature of the current frame; None where the preset does not look at it.
        truths: of the last keyframe and the current frame.
        size: height and width of the images.
        weights: of the losses.
        generator: on the CPU.
        same: ``(B, T - 1)`` bool: where a frame is the one before it, its task feature is that keyframe's, and a
            keyframe's own feature, with nothing aligned. None aligns everywhere.
    """
    *keyframes, goal = features
    processes = criterion.processes
    memory = keyframes[0]
    before = None if network.preset.embeds else network.remember(memory, images[0])
    for at, new in enumerate(keyframes[1:], start=1):
        key = network.update(images[at], new, memory, before)
        if same is not None:
            key |= {name: _where(same[:, at - 1], new, key[name]) for name in ("task", "memory")}
        memory = key["memory"]
        before = None if network.preset.embeds else network.remember(memory, images[at])
    carried = memory if network.preset.form == "paper" else key["task"]
    slots = network.propagate(images[-1], carried, network.remember(carried, images[-2]), high)
    if same is not None:
        slots["task"] = _where(same[:, -1], key["task"], slots["task"])
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
    count, length = batch.images.shape[:2]
    frames = batch.images.transpose(0, 1).reshape(length * count, *batch.images.shape[2:])
    frames = frames.contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(options.train_low):
        low = network.backbone.low(frames)  # type: ignore[operator]
    heavy = len(frames) if options.mimic or options.align else len(frames) - count
    with torch.set_grad_enabled(options.heavy_in_video):
        features = network.backbone.rest(low[:heavy])  # type: ignore[operator]
    images, parts = ([whole[at * count : (at + 1) * count] for at in range(length)] for whole in (frames, features))
    high = _high(network, images[-1], low[-count:], options) if network.preset.sees else None
    processes = criterion.processes
    truths = [
        Truth.of(batch.boxes[:, at], batch.labels[:, at], batch.ignore[:, at], batch.trust[:, at]).rows(processes)
        for at in (-2, -1)
    ]
    same = processes.rows(batch.same) if options.bypass else None
    return losses_from_features(network, criterion, parts, images, high, truths, size, options, generator, same)


def _high(network: VideoNetwork, image: torch.Tensor, low: torch.Tensor, options: TrainOptions) -> torch.Tensor:
    """The light path's feature; at full scale the low part has seen the image already, which gave ``low``."""
    shrunk = network.shrink(image)
    if network.preset.light_scale != 1.0:
        with torch.set_grad_enabled(options.train_low):
            low = network.low(shrunk)
    return network.high(low, shrunk.shape[2:])


def _where(chosen: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen[:, None, None, None], yes, no)


def _distance(value: torch.Tensor, goal: torch.Tensor, processes: Processes) -> torch.Tensor:
    """This process's part of the mean squared difference over the mean square of the goal, which takes no gradient."""
    goal = goal.detach().float()
    scale = processes.sum(goal.square().mean()) / processes.count
    return (value.float() - goal).square().mean() / processes.count / scale.clamp(min=1e-6)
