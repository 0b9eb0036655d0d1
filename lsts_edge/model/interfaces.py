"""What a backbone and a detection head must offer so that anybody's own can take the place of ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import nn

__all__ = ["Backbone", "Head"]


@runtime_checkable
class Backbone(Protocol):
    """A feature network that can be left early.

    ``rest(low(image))`` is the keyframe's feature; a propagated frame stops after ``low``. Both are methods of
    one ``torch.nn.Module``, so that the low part's weights exist once.

    Attributes:
        low_channels: channels that ``low`` returns.
        low_stride: image pixels per cell of the low-level feature.
        feature_channels: channels that ``rest`` returns.
        stride: image pixels per cell of the feature; the size is ``ceil(H / stride) x ceil(W / stride)``.
    """

    low_channels: int
    low_stride: int
    feature_channels: int
    stride: int

    def low(self, image: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W)`` normalised image to ``(N, low_channels, H / low_stride, W / low_stride)``."""
        ...

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        """Low-level feature to ``(N, feature_channels, H / stride, W / stride)``."""
        ...

    def low_parameters(self) -> Iterable[nn.Parameter]:
        """What ``low`` computes with: training may keep it as it was pretrained."""
        ...

    def new_parameters(self) -> Iterable[nn.Parameter]:
        """What no pretrained weights fill, such as a last convolution to ``feature_channels``: it learns faster."""
        ...


@runtime_checkable
class Head(Protocol):
    """Boxes from a task feature. Training code may ask more of a head; the video loop asks only this."""

    def detect(
        self, task: torch.Tensor, height_px: int, width_px: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Final detections of one image, best first.

        Args:
            task: ``(1, C, h, w)`` task feature.
            height_px: height of the network input; boxes are clipped to it.
            width_px: width of the network input.

        Returns:
            Boxes ``(D, 4)`` xyxy in pixels of the network input, scores ``(D,)``, labels ``(D,)`` int64.
        """
        ...
