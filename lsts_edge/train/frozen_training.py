"""Train everything behind a frozen backbone from its cached features: Transform, alignment, SRFU, DFA and head."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import nn

from lsts_edge.errors import OptionError, TrainingError
from lsts_edge.kinds import check_fields
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.model.rfcn import RfcnHead
from lsts_edge.progress import Progress, silent
from lsts_edge.train.frozen_features import FrozenFeatures, part_of
from lsts_edge.train.losses import DetectionLoss, LossOptions, Truth
from lsts_edge.train.optimizer import make_optimizer
from lsts_edge.train.triplet import losses_from_features
from lsts_edge.train.warm_start import warm_start_embeddings

__all__ = ["FrozenOptions", "train_on_features"]

_CLIP_NORM = 10.0
_WARM_FRAMES = 64


@dataclass(frozen=True)
class FrozenOptions:
    """One run on cached features; rates fall along a cosine.

    Attributes:
        steps: optimiser steps.
        batch: triplets a step.
        segment: frames between the keyframes that triplets imitate.
        learning_rate: of Transform, embeddings and aggregations, which start untrained.
        head_rate: of the head, which comes trained.
        offset_rate: of the sampling offsets.
        weight_decay: AdamW's; none for the offsets.
        warmup: steps until the full rate.
        ema: decay of the averaged weights that come out.
        key_loss: weight of the keyframe's detection loss; released: only the current frame counts.
        mimic: weight of the pull of a propagated frame's own feature towards the heavy one.
        align: weight of the same pull on what the alignment brings along.
        loss: the detection losses.
    """

    steps: int = 400
    batch: int = 4
    segment: int = 10
    learning_rate: float = 2e-3
    head_rate: float = 2e-4
    offset_rate: float = 5e-3
    weight_decay: float = 0.02
    warmup: int = 20
    ema: float = 0.97
    key_loss: float = 0.0
    mimic: float = 1.0
    align: float = 1.0
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.steps, self.batch, self.segment) < 1 or not 0 <= self.ema < 1:
            got = f"{self.steps} steps of {self.batch}, segment {self.segment}, ema {self.ema}"
            raise OptionError("training on features", got=got, expected="all >= 1, ema 0..1", fix="Correct them.")


def train_on_features(
    network: VideoNetwork,
    features: FrozenFeatures,
    options: FrozenOptions,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, float]:
    """Train in place; the averaged weights stay. The same seed draws the same triplets, whatever the network.

    Args:
        network: with the backbone and head of the detector that the features come from; the rest untrained.
        features: of the training frames.
        options: the run.
        seed: of the triplets and of the losses' random choices.
        progress: told of steps done.
    Returns:
        Mean of each loss over the last tenth of the steps.
    Raises:
        TrainingError: if a loss is not finite.
    """
    random = torch.Generator().manual_seed(seed)
    choices = torch.Generator().manual_seed(seed + 1)
    weights = _weights(features)
    with torch.no_grad():
        warm = torch.multinomial(weights, _WARM_FRAMES, replacement=True, generator=random)
        warm_start_embeddings(network, part_of(features.heavy, warm))
    network.requires_grad_(False)
    network.backbone.eval()  # frozen: its batch norms keep their statistics too
    criterion = DetectionLoss(cast(RfcnHead, network.head), options.loss)
    optimizer = _optimizer(network, options)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    average = [copy.deepcopy(parameter.detach()) for parameter in trained]
    normalize = Normalize(network.preset.input)
    tail: dict[str, list[float]] = {}
    for step in range(options.steps):
        factor = min(1.0, (step + 1) / (options.warmup + 1)) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * max(factor, 0.01)
        triplets = _triplets(features, weights, options, random)
        losses = _losses(network, criterion, features, triplets, options, normalize, choices)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            got = {name: float(value.detach()) for name, value in losses.items()}
            raise TrainingError(f"loss at step {step}", got=got, expected="finite numbers", fix="Lower the rates.")
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
        optimizer.step()
        decay = min(options.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for slow, fast in zip(average, trained, strict=True):
                slow.lerp_(fast, 1 - decay)
        if step >= options.steps - max(1, options.steps // 10):
            for name, value in losses.items():
                tail.setdefault(name, []).append(float(value.detach()))
        progress("steps", step + 1, options.steps)
    with torch.no_grad():
        for slow, fast in zip(average, trained, strict=True):
            fast.copy_(slow)
    network.eval()
    return {name: float(np.mean(values)) for name, values in tail.items()}


def _weights(features: FrozenFeatures) -> torch.Tensor:
    """How often a frame is the current one: each as much as its rarest class is rare."""
    shown = (features.labels >= 0) & ~features.ignore
    classes = int(features.labels.max()) + 1
    present = torch.stack([((features.labels == label) & shown).any(1) for label in range(max(1, classes))], dim=1)
    rarity = 1.0 / present.sum(0).clamp(min=1).float()
    weight = torch.where(present, rarity, 0.0).max(1).values
    return torch.where(present.any(1), weight, rarity.min())


def _triplets(
    features: FrozenFeatures, weights: torch.Tensor, options: FrozenOptions, random: torch.Generator
) -> torch.Tensor:
    """``(3, B)``: old keyframe, new keyframe, current frame, by the rule of ``augment.sample_triplets``."""
    current = torch.multinomial(weights, options.batch, replacement=True, generator=random)
    segment = options.segment
    back_new = torch.randint(0, segment + 1, (options.batch,), generator=random)
    back_old = torch.randint(segment, segment + segment // 2 + 1, (options.batch,), generator=random)
    earliest = features.first[current]
    return torch.stack(
        (torch.maximum(current - back_old, earliest), torch.maximum(current - back_new, earliest), current)
    )


def _losses(
    network: VideoNetwork,
    criterion: DetectionLoss,
    features: FrozenFeatures,
    triplets: torch.Tensor,
    options: FrozenOptions,
    normalize: Normalize,
    choices: torch.Generator,
) -> dict[str, torch.Tensor]:
    preset = network.preset
    heavy = [part_of(features.heavy, part) for part in triplets]
    images = [_images(network, features, part, normalize) for part in triplets]
    size = (preset.input.height_px, preset.input.width_px)
    high = features.high(network, triplets[2]) if preset.sees else None
    truths = [_truth(features, part) for part in triplets[1:]]
    return losses_from_features(network, criterion, heavy, images, high, truths, size, options, choices)


def _optimizer(network: VideoNetwork, options: FrozenOptions) -> torch.optim.Optimizer:
    groups: dict[str, list[nn.Parameter]] = {"new": [], "head": [], "offsets": []}
    fixed = network.preset.lsts is not None and not network.preset.lsts.learn_offsets
    for name, parameter in network.named_parameters():
        if name.startswith("backbone.") or (name == "lsts.offsets" and fixed):
            continue
        parameter.requires_grad_(True)
        group = "head" if name.startswith("head.") else "offsets" if name == "lsts.offsets" else "new"
        groups[group].append(parameter)
    rates = {"new": options.learning_rate, "head": options.head_rate, "offsets": options.offset_rate}
    return make_optimizer(groups, rates, options.weight_decay)


def _images(network: VideoNetwork, features: FrozenFeatures, index: torch.Tensor, normalize: Normalize) -> torch.Tensor:
    """Normalised images where the alignment looks at them; else nothing that anybody looks at."""
    if getattr(network.alignment, "compares", "nothing") != "pictures":
        return torch.empty(len(index), 0)
    return normalize(torch.from_numpy(features.pixels[index.numpy()]))  # type: ignore[no-any-return]


def _truth(features: FrozenFeatures, index: torch.Tensor) -> Truth:
    return Truth.of(features.boxes[index], features.labels[index], features.ignore[index])
