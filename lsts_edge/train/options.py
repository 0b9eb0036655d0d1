"""Everything a training run can be told, checked before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.train.augment import Augmentation
from lsts_edge.train.losses import LossOptions

__all__ = ["TrainOptions"]


@dataclass(frozen=True)
class TrainOptions:
    """One training run.

    Two phases share the steps. ``detector`` trains the heavy path and the head on single frames; ``video`` trains
    Transform, LSTS and the aggregations on triplets, with the heavy path as it is (or along with the rest).

    Attributes:
        steps: optimiser steps of both phases.
        batch: items per step.
        video_fraction: share of the steps in the second phase; 1 is the released schedule, one phase.
        video_batch: triplets per step of the second phase.
        seed: of the sampling, the views and the random choices.
        learning_rate: of parts that start untrained.
        backbone_rate: of parts that start from ImageNet, and of the head in the second phase.
        offset_factor: learning rate of the sampling offsets, times ``learning_rate``.
        precision: ``fp32``, or of the operators that autocast chooses ``bf16`` or ``fp16``, whose losses are scaled so
            that small gradients survive; None is bf16 on CUDA and fp32 elsewhere.
        optimizer: ``adamw`` or ``sgd``.
        momentum: of SGD.
        weight_decay: of all but the offsets; AdamW's own kind, or SGD's.
        gradient: of a step: the ``mean`` over its items, or their ``sum``, as the released code adds up its GPUs.
        clip_norm: largest norm of a step's gradient; 0 does not clip.
        warmup: steps until the full rate.
        schedule: how the rate falls then, in each phase: ``cosine`` to a hundredth, or in ``steps``.
        decay_at: the steps down, as shares of the phase.
        decay_factor: what a step down multiplies the rate by.
        ema: decay of the averaged weights that are saved; 0 saves the last ones.
        still_fraction: share of the draws from still images.
        images: kept in ``memory``, or read from ``disk`` when they are drawn.
        class_weights: how much more often a class is drawn, by name.
        class_balance: 1 draws the classes of a source equally often, 0 as often as they occur.
        frames_per_video: draw the current frame from so many of each sequence, evenly spaced; 0 from all. Keyframes
            come from all.
        empty_weight: how often an image without an object is drawn, beside one with the commonest.
        small_fraction: share of the first phase's steps at ``small_scale`` of the input size.
        small_scale: that scale.
        sampling: of triplets: ``online``, keyframes before the current frame, or ``offline``, on either side.
        keyframes: in a triplet, 2; more unroll the memory further.
        bypass: where two frames of a triplet are the same, which they are of a still image, nothing is aligned.
        key_loss: weight of the keyframe's detection loss (released: 0, only the current frame counts).
        mimic: weight of the pull of a propagated frame's own feature towards what the heavy path gives.
        train_low: train the part shared by both paths.
        freeze: parts that stay as they are, such as ``backbone.conv1``.
        freeze_norms: scale and shift of batch norms stay (their statistics always do).
        align: weight of the same pull on what LSTS brings along, at keyframes and propagated frames.
        warm_start: start the embeddings from a whitening of heavy features (see ``warm_start``).
        train_heavy: in the video phase, train the heavy path too; ``None``: only if there is no other phase.
        train_depthwise: train depthwise kernels (slow on CPUs).
        save_every: steps between two resume files.
    """

    steps: int
    batch: int = 12
    video_fraction: float = 0.3
    video_batch: int = 8
    seed: int = 0
    learning_rate: float = 1e-3
    backbone_rate: float = 3e-4
    offset_factor: float = 5.0
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.02
    gradient: Literal["mean", "sum"] = "mean"
    clip_norm: float = 10.0
    warmup: int = 40
    schedule: Literal["cosine", "steps"] = "cosine"
    decay_at: tuple[float, ...] = ()
    decay_factor: float = 0.1
    ema: float = 0.99
    still_fraction: float = 0.35
    images: Literal["memory", "disk"] = "memory"
    class_weights: dict[str, float] = field(default_factory=dict)
    class_balance: float = 1.0
    frames_per_video: int = 0
    empty_weight: float = 1.0
    small_fraction: float = 0.5
    small_scale: float = 0.75
    sampling: Literal["online", "offline"] = "online"
    keyframes: int = 2
    bypass: bool = False
    key_loss: float = 0.5
    mimic: float = 1.0
    align: float = 1.0
    warm_start: bool = True
    train_low: bool = False
    freeze: tuple[str, ...] = ()
    freeze_norms: bool = False
    train_heavy: bool | None = None
    train_depthwise: bool = False
    save_every: int = 100
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "batch", "video_batch", "save_every"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for name in ("video_fraction", "small_fraction", "still_fraction", "class_balance", "decay_factor"):
            _check(0.0 <= getattr(self, name) <= 1.0, name, getattr(self, name), "0..1")
        for name in ("learning_rate", "backbone_rate", "offset_factor"):
            _check(0.0 < getattr(self, name) < 1e5, name, getattr(self, name), "> 0 and below 100000")
        for name in ("weight_decay", "clip_norm", "key_loss", "mimic", "align", "frames_per_video", "empty_weight"):
            _check(0.0 <= getattr(self, name) < 1e9, name, getattr(self, name), ">= 0")
        _check(0.0 <= self.momentum < 1.0, "momentum", self.momentum, "0 <= momentum < 1")
        _check(all(0.0 < at < 1.0 for at in self.decay_at), "decay_at", self.decay_at, "shares between 0 and 1")
        _check(2 <= self.keyframes <= 16, "keyframes", self.keyframes, "2..16")
        shifted = "still_shift 0: views of a still image must be the same"
        _check(not self.bypass or not self.augmentation.still_shift, "bypass", self.augmentation.still_shift, shifted)
        _check(0.0 <= self.ema < 1.0, "ema", self.ema, "0 <= ema < 1")
        _check(0.25 <= self.small_scale <= 1.0, "small_scale", self.small_scale, "0.25..1")
        _check(self.warmup >= 0, "warmup", self.warmup, ">= 0")

    @property
    def heavy_in_video(self) -> bool:
        """Whether the video phase trains the heavy path."""
        return self.train_heavy if self.train_heavy is not None else self.detector_steps == 0

    @property
    def detector_steps(self) -> int:
        """Steps of the first phase."""
        return self.steps - round(self.steps * self.video_fraction)


def _check(holds: bool, name: str, got: object, expected: str) -> None:
    if not holds:
        raise OptionError(f"training option {name}", got=got, expected=expected, fix="Correct it.")
