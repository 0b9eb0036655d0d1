"""Two short clips of coloured rectangles with exact boxes, written as COCO-VID files: enough to train lsts-tiny on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

__all__ = ["COLORS_BGR", "write_toy_data"]

HEIGHT, WIDTH = 64, 96
COLORS_BGR = {"bird": (40, 220, 40), "vehicle": (230, 60, 60)}


def write_toy_data(folder: Path, *, frames: int = 8, seed: int = 0) -> Path:
    """Write images and ``toy.json`` into a folder; returns the JSON file's path.

    Each clip shows one rectangle on dark noise, moving a few pixels per frame; frame 0 of each has an ignore box.
    """
    random = np.random.RandomState(seed)
    groups = ("person", "rider", "vehicle", "bird", "quadruped")
    data: dict[str, list[dict[str, object]]] = {
        "categories": [{"id": number, "name": name} for number, name in enumerate(groups, start=1)],
        "videos": [], "images": [], "annotations": [], "ignore": [],
    }  # fmt: skip
    for clip, (name, color) in enumerate(COLORS_BGR.items()):
        data["videos"].append({"id": clip + 1, "name": name})
        for frame in range(frames):
            image = random.randint(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            x, y, w, h = 6 + 4 * frame + 10 * clip, 8 + 2 * frame, 34, 26
            cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), color, -1)
            number = clip * frames + frame + 1
            file = f"{name}_{frame:02d}.png"
            assert cv2.imwrite(str(folder / file), image)
            data["images"].append(
                {
                    "id": number,
                    "video_id": clip + 1,
                    "frame_id": frame,
                    "file_name": file,
                    "height": HEIGHT,
                    "width": WIDTH,
                }
            )
            label = 4 if name == "bird" else 3
            data["annotations"].append({"image_id": number, "category_id": label, "bbox": [x, y, w, h], "iscrowd": 0})
            if frame == 0:
                data["ignore"].append({"image_id": number, "category_id": 1, "bbox": [60, 40, 30, 20]})
    path = folder / "toy.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path
