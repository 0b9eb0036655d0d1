"""What goes into a bundle's programs and what comes out: the image's form, and how the detections are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsts_edge.bundle.check import check
from lsts_edge.presets import InputPreset

__all__ = ["Corners", "DetectionInfo", "InputInfo"]

Corners = Literal["edges", "inclusive"]
"""``edges``: x2 = x + width (COCO, YOLOX). ``inclusive``: both corner pixels belong to the box (R-FCN)."""


@dataclass(frozen=True)
class InputInfo:
    """The image graphs take: ``(1, height_px, width_px, 3)`` after ``resize`` and padding with ``pad_value``.

    With ``shorter-side`` its size follows the video: the shorter side becomes the shorter of ``height_px`` and
    ``width_px``, the longer at most the longer of them, and padding at the right and bottom makes both multiples of
    ``multiple_px``. The graphs' axes then have names.
    """

    height_px: int
    width_px: int
    resize: Literal["letterbox", "letterbox-centred", "stretch", "shorter-side"]
    pad_value: int
    layout: Literal["nhwc"] = "nhwc"
    dtype: Literal["uint8"] = "uint8"
    color_order: Literal["bgr"] = "bgr"
    multiple_px: int = 1

    def __post_init__(self) -> None:
        for side in (self.height_px, self.width_px):
            check(32 <= side <= 4096, "input: size", side, "32..4096 pixels")
        check(0 <= self.pad_value <= 255, "input.pad_value", self.pad_value, "0..255")
        check(1 <= self.multiple_px <= 256, "input.multiple_px", self.multiple_px, "1..256")
        check(self.multiple_px == 1 or self.follows_video, "input.multiple_px", self.multiple_px, "1 for a fixed size")

    @classmethod
    def of(cls, rule: InputPreset) -> InputInfo:
        """What a preset says of it."""
        return cls(rule.height_px, rule.width_px, rule.resize, rule.pad_value, multiple_px=rule.multiple_px)

    @property
    def follows_video(self) -> bool:
        """Whether the image's size is that of the video, scaled."""
        return self.resize == "shorter-side"

    @property
    def image_px(self) -> tuple[int, int]:
        """Height and width of the image; where they follow the video, of a frame of the input's own size."""
        height, width = (-(-side // self.multiple_px) * self.multiple_px for side in (self.height_px, self.width_px))
        return height, width

    def __str__(self) -> str:
        if not self.follows_video:
            return f"{self.width_px}x{self.height_px} px"
        shorter, longer = sorted((self.height_px, self.width_px))
        return f"shorter side {shorter} px, longer at most {longer} px, in multiples of {self.multiple_px}"


@dataclass(frozen=True)
class DetectionInfo:
    """How the slots ``boxes``, ``scores`` and ``labels`` are meant.

    Attributes:
        score_floor: boxes scoring less are left out.
        max_detections: length of the list at most.
        nms_iou: overlap above which the network's last suppression drops the weaker box of a class; None where it
            suppresses nothing (DETR and its kin).
        corners: rule of the boxes' corners.
    """

    score_floor: float
    max_detections: int
    nms_iou: float | None
    corners: Corners

    def __post_init__(self) -> None:
        check(0 <= self.score_floor <= 1, "detection.score_floor", self.score_floor, "0..1")
        check(1 <= self.max_detections <= 100_000, "detection.max_detections", self.max_detections, "1..100000")
        check(self.nms_iou is None or 0 <= self.nms_iou <= 1, "detection.nms_iou", self.nms_iou, "0..1")
