"""Everything a training run can be told, checked before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        weight_decay: AdamW's.
        warmup: steps until the full rate; then it falls along a cosine.
        ema: decay of the averaged weights that are saved; 0 saves the last ones.
        still_fraction: share of the draws from still images.
        class_weights: how much more often a class is drawn, by name.
        class_balance: 1 draws the classes of a source equally often, 0 as often as they occur.
        small_fraction: share of the first phase's steps at ``small_scale`` of the input size.
        small_scale: that scale.
        key_loss: weight of the keyframe's detection loss (released: 0, only the current frame counts).
        mimic: weight of the pull of a propagated frame's own feature towards what the heavy path gives.
        train_low: train the part shared by both paths.
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
    weight_decay: float = 0.02
    warmup: int = 40
    ema: float = 0.99
    still_fraction: float = 0.35
    class_weights: dict[str, float] = field(default_factory=dict)
    class_balance: float = 1.0
    small_fraction: float = 0.5
    small_scale: float = 0.75
    key_loss: float = 0.5
    mimic: float = 1.0
    align: float = 1.0
    warm_start: bool = True
    train_low: bool = False
    train_heavy: bool | None = None
    train_depthwise: bool = False
    save_every: int = 100
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "batch", "video_batch", "save_every"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for name in ("video_fraction", "small_fraction", "still_fraction", "class_balance"):
            _check(0.0 <= getattr(self, name) <= 1.0, name, getattr(self, name), "0..1")
        for name in ("learning_rate", "backbone_rate", "offset_factor"):
            _check(0.0 < getattr(self, name) < 1e4, name, getattr(self, name), "> 0")
        for name in ("weight_decay", "key_loss", "mimic", "align"):
            _check(getattr(self, name) >= 0.0, name, getattr(self, name), ">= 0")
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
