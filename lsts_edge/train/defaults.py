"""Options of training that a preset has by default: the paper's for its networks, ours for the small ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsts_edge.presets import ModelPreset
from lsts_edge.train.augment import Augmentation
from lsts_edge.train.losses import LossOptions
from lsts_edge.train.options import TrainOptions

__all__ = ["options_for"]

# Jiang et al., ECCV 2020, section 4.2, and the configuration of the released code where the paper is silent.
_PAPER: Mapping[str, Any] = {
    "batch": 8,  # one item on each of 8 GPUs
    "video_batch": 8,
    "video_fraction": 1.0,
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 2.5e-4,
    "backbone_rate": 2.5e-4,
    "offset_factor": 1e4,
    "weight_decay": 5e-4,
    "gradient": "sum",
    "clip_norm": 0.0,
    "schedule": "steps",
    "decay_at": (2.33 / 4,),  # of 4 epochs
    "warmup": 0,
    "ema": 0.0,
    "images": "disk",  # ImageNet VID's would fill 200 GB of memory
    "frames_per_video": 15,
    "empty_weight": 0.0,
    "class_balance": 0.0,
    "small_fraction": 0.0,
    "sampling": "offline",
    "bypass": True,
    "key_loss": 0.0,
    "mimic": 0.0,
    "align": 0.0,
    "warm_start": False,
    "train_low": True,
    "freeze": ("backbone.conv1", "backbone.conv2"),
    "freeze_norms": True,
    "augmentation": Augmentation.none(flip=0.5),
    "loss": LossOptions(proposals=300, jittered=0, hard=128, mined="image"),
}


def options_for(preset: ModelPreset, given: Mapping[str, Any]) -> TrainOptions:
    """The options of a run: what was given, else the preset's default.

    Args:
        preset: with ResNet-101 it is trained as the paper trains.
        given: fields of ``TrainOptions``.

    Raises:
        OptionError: if one is out of range.
    """
    defaults = _PAPER if preset.backbone.name == "resnet101" else {}
    return TrainOptions(**{**defaults, **given})
