"""COCO-VID style annotations as they grow: videos, frames, boxes, and what was left out with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CocoVideo"]

Box = tuple[float, float, float, float]


class CocoVideo:
    """Collects what ``read_annotations`` reads; ids count from 1.

    Args:
        categories: names, in the order of their labels.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        self._categories = [{"id": label + 1, "name": name} for label, name in enumerate(categories)]
        self._videos: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._boxes: list[dict[str, Any]] = []
        self._ignore: list[dict[str, Any]] = []
        self._left_out: dict[str, dict[str, Any]] = {}

    def add_video(self, name: str, **facts: object) -> int:
        """A sequence that the next images may belong to; returns its id."""
        self._videos.append({"id": len(self._videos) + 1, "name": name, **facts})
        return len(self._videos)

    def add_image(self, file_name: str, size_hw: tuple[int, int], **facts: object) -> int:
        """A picture, its path relative to the file to be; ``video_id`` and ``frame_id`` make it a frame."""
        height, width = size_hw
        row = {"id": len(self._images) + 1, **facts, "file_name": file_name, "height": height, "width": width}
        self._images.append(row)
        return len(self._images)

    def add_box(self, image: int, label: int, xywh_px: Box, *, ignore: bool = False, **facts: object) -> None:
        """A box of an image; ``ignore``: neither object nor background."""
        box = [round(value, 2) for value in xywh_px]
        row = {"image_id": image, "category_id": label + 1, "bbox": box, "area": round(box[2] * box[3], 1), **facts}
        if ignore:
            self._ignore.append(row | {"ignore": 1})
        else:
            self._boxes.append({"id": len(self._boxes) + 1, **row, "iscrowd": 0})

    def leave_out(self, reason: str, example: str) -> None:
        """Count something that is not taken, by its reason; the first one is named."""
        row = self._left_out.setdefault(reason, {"reason": reason, "count": 0, "first": example})
        row["count"] += 1

    @property
    def left_out(self) -> list[dict[str, Any]]:
        """Rows of ``reason``, ``count`` and ``first``."""
        return list(self._left_out.values())

    def content(self, **info: object) -> dict[str, Any]:
        """The whole as one object; ``info`` is what its readers should know of it."""
        return {
            "info": {**info, "left_out": self.left_out},
            "categories": self._categories,
            "videos": self._videos,
            "images": self._images,
            "annotations": self._boxes,
            "ignore": self._ignore,
        }

    @staticmethod
    def counted(content: Mapping[str, Any]) -> str:
        """What such an object holds, in words."""
        words = {"videos": "sequences", "images": "frames", "annotations": "boxes", "ignore": "ignored"}
        return ", ".join(f"{len(content[key])} {what}" for key, what in words.items())
