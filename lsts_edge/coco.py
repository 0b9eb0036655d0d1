"""The 80 classes of COCO, which most detectors that people have were trained on."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["COCO_CLASSES", "coco_category_ids"]

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""In the order of their labels."""

_LEFT_OUT_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Of the 90 that COCO's annotations number; the 80 classes are the others, in order."""


def coco_category_ids(classes: Sequence[str]) -> tuple[int, ...]:
    """The category id of each label: COCO's own where the classes are the 80 of COCO, else the label counted from 1."""
    if tuple(classes) == COCO_CLASSES:
        return tuple(number for number in range(1, 91) if number not in _LEFT_OUT_IDS)
    return tuple(range(1, len(classes) + 1))
