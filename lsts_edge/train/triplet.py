"""The losses of a triplet from its keyframe features on: what whole training and rows on cached features share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from lsts_edge.model.network import VideoNetwork
from lsts_edge.train.losses import DetectionLoss, Truth

__all__ = ["TripletWeights", "losses_from_features", "make_optimizer"]


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
        generator: on the device.
    """
    old, new, goal = features
    before = None if network.preset.embeds else network.remember(old, images[0])
    key = network.update(images[1], new, old, before)
    carried = key["memory"] if network.preset.form == "paper" else key["task"]
    slots = network.propagate(images[2], carried, network.remember(carried, images[1]), high)
    losses = criterion(network.head.maps(slots["task"]), truths[1], size, generator)  # type: ignore[operator]
    if weights.key_loss:
        keyframe = criterion(network.head.maps(key["task"]), truths[0], size, generator)  # type: ignore[operator]
        losses["key"] = weights.key_loss * torch.stack(list(keyframe.values())).sum()
    if weights.mimic and high is not None:
        losses["mimic"] = weights.mimic * _distance(high, goal)
    if weights.align and "aligned" in key:
        losses["align_key"] = 0.5 * weights.align * _distance(key["aligned"], new)
    if weights.align and "aligned" in slots:
        losses["align"] = weights.align * _distance(slots["aligned"], goal)
    return losses


def make_optimizer(
    groups: dict[str, list[nn.Parameter]], rates: dict[str, float], weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over the groups that have parameters; ``full`` keeps a group's rate, ``offsets`` never decay.

    Args:
        groups: parameters by the group's name.
        rates: learning rate of each group.
        weight_decay: of the others.
    """
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[name],
                "full": rates[name],
                "weight_decay": 0.0 if name == "offsets" else weight_decay,
            }
            for name, parameters in groups.items()
            if parameters
        ]
    )


def _distance(value: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the mean square of the goal, which takes no gradient."""
    goal = goal.detach().float()
    return (value.float() - goal).square().mean() / goal.square().mean().clamp(min=1e-6)
